-- Functions, because each is one round trip where the coordinator would need five, and most events cost little else.

-- Writes changed steps, those of the executions in "belonging" or, where that is null, all; the guard lets no write pass
-- that was decided on another state than the stored one. Returns the version of each row that was written.
CREATE FUNCTION write_steps(changes json, belonging uuid[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    UPDATE step_executions s
    SET epoch = new.epoch, attempt = new.attempt, degraded = new.degraded, remade = new.remade, status = new.status,
        stage = new.stage, retries = new.retries, fallback = new.fallback,
        worker = new.worker, starts = new.starts, shards = new.shards,
        inputs = new.inputs, manifest = new.manifest, output = new.output, files = new.files, summary = new.summary,
        metrics = new.metrics, error_class = new.error_class, error = new.error, error_details = new.error_details,
        fraction = new.fraction, note = new.note,
        dispatched_at = CASE WHEN new.offered THEN now() WHEN new.status <> 'pending' THEN s.dispatched_at END,
        -- A worker that has the task proves that it was published, whether or not the confirmation was noted.
        published_at = CASE WHEN new.offered OR new.status = 'pending' THEN NULL
                            WHEN new.status = 'running' AND new.worker IS NOT NULL THEN coalesce(s.published_at, now())
                            ELSE s.published_at END,
        -- After a redelivery the time-out begins anew, with the start of the worker that has the task now.
        started_at = CASE WHEN new.offered OR new.status = 'pending' THEN NULL
                          WHEN cardinality(new.starts) > cardinality(s.starts) THEN now()
                          WHEN new.status IN ('running', 'completed', 'failed') THEN coalesce(s.started_at, now())
                          ELSE s.started_at END,
        finished_at = CASE WHEN new.status IN ('completed', 'failed', 'skipped', 'cancelled')
                           THEN coalesce(s.finished_at, now()) END
    FROM json_to_recordset(changes)
        AS new (execution_id uuid, step text, shard integer, old_epoch integer, old_attempt integer, old_status text,
                attempt integer, status text, stage text, retries integer, fallback smallint, worker text, starts text[],
                shards integer, inputs jsonb, manifest jsonb, output jsonb, files jsonb, summary jsonb, metrics jsonb,
                error_class text, error text, error_details jsonb, fraction real, note text, offered boolean, epoch integer,
                degraded boolean, remade smallint)
    WHERE s.execution_id = new.execution_id AND s.step = new.step AND s.shard = new.shard
        AND s.epoch = new.old_epoch AND s.attempt = new.old_attempt AND s.status = new.old_status
        AND (belonging IS NULL OR new.execution_id = ANY (belonging))
    RETURNING s.xmin::text;
END $$;

-- Locks executions, finds those that are exactly as they are remembered, and writes what was decided about them.
--
-- "versions" are those of the executions' rows, "step_versions" those of their steps in the order of their names, and
-- "changed" says how many of the changes are about each. Returns what was settled. Nothing is written about the others;
-- nor is anything about executions of which the month's money is limited, since what is left of it is not remembered.
CREATE FUNCTION settle_steps(ids uuid[], versions text[], step_versions text[], changed integer[], changes json)
RETURNS TABLE (id uuid, version text, at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
    settled uuid[];
    due integer;
    written integer;
    mark text;
BEGIN
    PERFORM FROM executions e WHERE e.id = ANY (ids) ORDER BY e.id FOR UPDATE;
    -- A statement of its own, which sees what was committed while the locks were waited for.
    SELECT array_agg(known.id), sum(known.changed) INTO settled, due
    FROM unnest(ids, versions, step_versions, changed) AS known (id, version, steps, changed)
    JOIN executions e ON e.id = known.id AND e.xmin::text = known.version
    JOIN clients c ON c.id = e.client_id AND c.monthly_budget IS NULL
    WHERE known.steps = (
        SELECT string_agg(s.xmin::text, ' ' ORDER BY s.step COLLATE "C")
        FROM step_executions s WHERE s.execution_id = known.id AND s.shard = 0);
    IF due > 0 THEN
        SELECT count(*), min(w.version) INTO written, mark FROM write_steps(changes, settled) AS w (version);
        IF written <> due THEN
            RAISE EXCEPTION '% of % steps had changed meanwhile', due - written, due USING ERRCODE = 'serialization_failure';
        END IF;
    END IF;
    RETURN QUERY SELECT unnest(settled), mark, now();
END $$;
