-- What is removed when it is old enough, and how to find it without reading what stays.

-- Each minute every coordinator reads what was cancelled within the hour.
CREATE INDEX executions_cancelled ON executions (finished_at) WHERE status = 'cancelled';
CREATE INDEX dead_letters_resolved ON dead_letters (resolved_at, id) WHERE resolved_at IS NOT NULL;

-- Drops the oldest month of the timeline that was over before that moment, and says which; null if there is none, or if
-- somebody is reading it. Nobody who writes facts waits for it: it asks for its locks for a moment only.
CREATE FUNCTION drop_timeline_partition(before timestamptz) RETURNS text LANGUAGE plpgsql SET lock_timeout = '100ms' AS $$
DECLARE
    partition text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('timeline partitions'));
    SELECT c.relname INTO partition
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'timeline'::regclass AND c.relname ~ '^timeline_\d{4}_\d{2}$'
        AND (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= before
    ORDER BY c.relname
    LIMIT 1;
    IF partition IS NOT NULL THEN
        EXECUTE format('DROP TABLE %I', partition);
    END IF;
    RETURN partition;
EXCEPTION WHEN lock_not_available THEN
    RETURN NULL;
END $$;

-- The shards of a fan-out that are still to be offered: each window takes the first of them.
CREATE INDEX step_executions_pending ON step_executions (execution_id, step, shard)
    WHERE status = 'pending' AND shard > 0;
