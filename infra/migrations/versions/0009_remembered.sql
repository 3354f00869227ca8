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

-- Writes changed executions, those in "belonging" or, where that is null, all; guarded by the status and epoch on which
-- the change was decided. Its times are those of this statement: the transaction began before it waited for its turn to
-- count slots.
CREATE FUNCTION write_executions(changes json, belonging uuid[]) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    UPDATE executions e
    SET status = new.status, explanation = new.explanation, epoch = new.epoch, pause_reason = new.pause_reason,
        started_at = CASE WHEN new.status = 'running' THEN coalesce(e.started_at, statement_timestamp())
                          ELSE e.started_at END,
        finished_at = CASE WHEN new.status IN ('completed', 'partial', 'failed', 'cancelled')
                           THEN statement_timestamp() END
    FROM json_to_recordset(changes)
        AS new (id uuid, old_epoch integer, old_status text, status text, explanation text, epoch integer,
                pause_reason text)
    WHERE e.id = new.id AND e.epoch = new.old_epoch AND e.status = new.old_status
        AND (belonging IS NULL OR new.id = ANY (belonging))
    RETURNING e.id;
END $$;

-- Stores what executions hand to their clients; a later epoch replaces what an earlier one made.
CREATE FUNCTION write_deliverables(made json, belonging uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM deliverables d
    USING json_to_recordset(made) AS new (execution_id uuid, step text, epoch integer)
    WHERE d.execution_id = new.execution_id AND d.step = new.step AND d.epoch < new.epoch
        AND (belonging IS NULL OR new.execution_id = ANY (belonging));
    INSERT INTO deliverables (execution_id, step, format, epoch, ref)
    SELECT new.execution_id, new.step, new.format, new.epoch, new.ref
    FROM json_to_recordset(made) AS new (execution_id uuid, step text, format text, epoch integer, ref jsonb)
    WHERE belonging IS NULL OR new.execution_id = ANY (belonging)
    ON CONFLICT (execution_id, step, format)
        DO UPDATE SET ref = excluded.ref, epoch = excluded.epoch, created_at = now();
END $$;

-- Stores publishes that are owed after the commit, their bodies in base64, and returns them in their order.
CREATE FUNCTION write_owed(items json, belonging uuid[]) RETURNS TABLE (id bigint, execution_id uuid) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    INSERT INTO outbox (exchange, routing_key, message_type, body, correlation_id, traceparent, mandatory, execution_id,
                        reply_to, headers)
    SELECT new.exchange, new.routing_key, new.message_type, decode(new.body, 'base64'), new.correlation_id,
           new.traceparent, new.mandatory, new.execution_id, new.reply_to, new.headers
    FROM ROWS FROM (json_to_recordset(items)
            AS (exchange text, routing_key text, message_type text, body text, correlation_id text, traceparent text,
                mandatory boolean, execution_id uuid, reply_to text, headers jsonb))
        WITH ORDINALITY AS new (exchange, routing_key, message_type, body, correlation_id, traceparent, mandatory,
                                execution_id, reply_to, headers, place)
    WHERE belonging IS NULL OR new.execution_id = ANY (belonging)
    ORDER BY new.place
    RETURNING outbox.id, outbox.execution_id;
END $$;

-- Locks executions, finds those that are exactly as they are remembered, and writes what was decided about them. What
-- somebody else has locked is being changed, and is left alone like what has changed.
--
-- "versions" are those of the executions' rows, "step_versions" those of their steps in the order of their names, and
-- "changed" says how many of the changes of steps and executions are about each. Returns what was settled, with the ids of
-- the publishes that are owed to each. Nothing is written about the others; nor is anything about executions of which the
-- month's money is limited, since what is left of it is not remembered.
CREATE FUNCTION settle(ids uuid[], versions text[], step_versions text[], changed integer[], steps json, ended json,
                       delivered json, owed json)
RETURNS TABLE (id uuid, version text, at timestamptz, owed_ids bigint[]) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    locked uuid[];
    settled uuid[];
    due integer;
    written integer := 0;
    mark text;
    numbers bigint[];
    owners uuid[];
BEGIN
    SELECT array_agg(free.id) INTO locked
    FROM (SELECT e.id FROM executions e WHERE e.id = ANY (ids) ORDER BY e.id FOR UPDATE SKIP LOCKED) AS free;
    -- A statement of its own, which sees all that was committed before the locks were had.
    SELECT array_agg(known.id), sum(known.changed) INTO settled, due
    FROM unnest(ids, versions, step_versions, changed) AS known (id, version, steps, changed)
    JOIN executions e ON e.id = known.id AND e.xmin::text = known.version
    JOIN clients c ON c.id = e.client_id AND c.monthly_budget IS NULL
    WHERE known.id = ANY (locked) AND known.steps = (
        SELECT string_agg(s.xmin::text, ' ' ORDER BY s.step COLLATE "C")
        FROM step_executions s WHERE s.execution_id = known.id AND s.shard = 0);
    IF due > 0 THEN
        SELECT count(*), min(w.version) INTO written, mark FROM write_steps(steps, settled) AS w (version);
        IF ended IS NOT NULL THEN
            written := written + (SELECT count(*) FROM write_executions(ended, settled));
        END IF;
        IF written <> due THEN
            RAISE EXCEPTION '% of % rows had changed meanwhile', due - written, due USING ERRCODE = 'serialization_failure';
        END IF;
        IF delivered IS NOT NULL THEN
            PERFORM write_deliverables(delivered, settled);
        END IF;
        IF owed IS NOT NULL THEN
            SELECT array_agg(w.id), array_agg(w.execution_id) INTO numbers, owners
            FROM write_owed(owed, settled) AS w (id, execution_id);
        END IF;
    END IF;
    RETURN QUERY
    SELECT done, mark, now(), ARRAY(
        SELECT number FROM unnest(numbers, owners) AS o (number, owner) WHERE o.owner = done ORDER BY number)
    FROM unnest(settled) AS done;
END $$;
