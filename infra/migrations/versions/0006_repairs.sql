-- What the coordinator had to put right, and what it can put right by itself.

CREATE TABLE repairs (
    kind    text PRIMARY KEY,
    number  bigint NOT NULL,
    last_at timestamptz NOT NULL DEFAULT now(),
    detail  text NOT NULL
);
COMMENT ON TABLE repairs IS 'queues, bindings and exchanges declared again, lost tasks offered again; normally empty';

-- Partitions that are missing are made again, the default one included; rows that went there meanwhile are moved. The
-- lock lets one coordinator at a time do it.
CREATE OR REPLACE FUNCTION make_timeline_partitions(months integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    start date;
    finish date;
    partition text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('timeline partitions'));
    CREATE TABLE IF NOT EXISTS timeline_default PARTITION OF timeline DEFAULT;
    FOR n IN 0..months LOOP
        start := date_trunc('month', now() AT TIME ZONE 'UTC')::date + make_interval(months => n);
        finish := (start + interval '1 month')::date;
        partition := format('timeline_%s', to_char(start, 'YYYY_MM'));
        IF to_regclass(partition) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (LIKE timeline INCLUDING DEFAULTS INCLUDING INDEXES)', partition);
            EXECUTE format('WITH moved AS (DELETE FROM timeline_default WHERE at >= %L AND at < %L RETURNING *)
                            INSERT INTO %I SELECT * FROM moved', start || ' 00:00+00', finish || ' 00:00+00', partition);
            EXECUTE format('ALTER TABLE timeline ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                           partition, start || ' 00:00+00', finish || ' 00:00+00');
        END IF;
    END LOOP;
END $$;
