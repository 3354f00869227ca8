-- name: lock_executions
-- Locks executions in the order of their ids, which every transaction keeps, and reads them.
SELECT id, client_id, submit_key, template, template_version, parameters, tier, quality, optimise_for, epoch, status,
       pause_reason, budget, reply_to, correlation_id, traceparent, explanation,
       -- Money is looked up where there is a limit, one row each, and nothing of it is locked.
       CASE WHEN budget IS NOT NULL THEN (
           SELECT x.reserved + x.spent FROM shared.budget_executions x WHERE x.execution_id = executions.id) END AS used,
       (SELECT c.monthly_budget - coalesce((
            SELECT m.reserved + m.spent FROM shared.budget_months m
            WHERE m.client_id = c.id AND m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date), 0)
        FROM clients c WHERE c.id = executions.client_id AND c.monthly_budget IS NOT NULL) AS month_left,
       extract(epoch FROM now() - created_at)::double precision AS seconds, xmin::text AS version
FROM executions
WHERE id = ANY($1::uuid[])
ORDER BY id
FOR UPDATE

-- name: step_versions
-- Which version of each step's row of these executions is there; every write makes another.
SELECT execution_id, array_agg(step) AS steps, array_agg(xmin::text) AS versions
FROM step_executions
WHERE execution_id = ANY($1::uuid[]) AND shard = 0
GROUP BY execution_id

-- name: load_steps
-- The steps of executions, and those of their shards that are named.
SELECT s.execution_id, s.step, s.shard, s.epoch, s.attempt, s.status, s.stage, s.retries, s.fallback, s.worker, s.starts,
       s.shards, s.inputs, s.manifest, s.output, s.files, s.summary, s.metrics, s.error_class, s.error, s.error_details,
       s.fraction, s.note, s.dispatched_at, s.degraded, s.remade
FROM step_executions s
WHERE s.execution_id = ANY($1::uuid[]) AND s.shard = 0
UNION ALL
SELECT s.execution_id, s.step, s.shard, s.epoch, s.attempt, s.status, s.stage, s.retries, s.fallback, s.worker, s.starts,
       s.shards, s.inputs, s.manifest, s.output, s.files, s.summary, s.metrics, s.error_class, s.error, s.error_details,
       s.fraction, s.note, s.dispatched_at, s.degraded, s.remade
FROM unnest($2::uuid[], $3::text[], $4::integer[]) AS named (execution_id, step, shard)
JOIN step_executions s USING (execution_id, step, shard)
WHERE s.shard > 0

-- name: count_shards
-- How many shards of a fan-out stand in each status, shards of older epochs left out.
SELECT s.execution_id, s.step, s.status, count(*)::integer AS shards
FROM unnest($1::uuid[], $2::text[], $3::integer[]) AS named (execution_id, step, epoch)
JOIN step_executions s ON s.execution_id = named.execution_id AND s.step = named.step
    AND s.shard > 0 AND s.epoch = named.epoch
GROUP BY s.execution_id, s.step, s.status

-- name: insert_steps
-- The steps of executions that start.
INSERT INTO step_executions (execution_id, step, shard, epoch, attempt, status, stage)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::integer[], $5::integer[], $6::text[], $7::text[])
ON CONFLICT (execution_id, step, shard) DO NOTHING

-- name: insert_shards
-- The shards 1 to $6 of a step, all pending. Those that an older epoch has left are done again under a further attempt.
INSERT INTO step_executions AS s (execution_id, step, shard, epoch, attempt, status, stage)
SELECT $1::uuid, $2::text, shard, $3::integer, $4::integer, 'pending', $5::text
FROM generate_series(1, $6::integer) AS shard
ON CONFLICT (execution_id, step, shard) DO UPDATE
SET epoch = excluded.epoch, attempt = s.attempt + 1, status = 'pending', stage = excluded.stage, retries = 0, fallback = 0,
    worker = NULL, starts = '{}', output = NULL, files = NULL, summary = NULL, metrics = NULL, error_class = NULL,
    error = NULL, error_details = NULL, fraction = NULL, note = NULL, dispatched_at = NULL, published_at = NULL,
    started_at = NULL, finished_at = NULL, degraded = false
WHERE s.epoch < excluded.epoch

-- name: keep_shards
-- Takes the shards of epoch $3 over into epoch $4; those that did not complete are to be done under a further attempt.
UPDATE step_executions s
SET epoch = $4,
    status = CASE WHEN s.status = 'completed' THEN s.status ELSE 'pending' END,
    attempt = CASE WHEN s.status = 'completed' THEN s.attempt ELSE s.attempt + 1 END,
    stage = CASE WHEN s.status = 'completed' THEN s.stage ELSE $5 END,
    retries = CASE WHEN s.status = 'completed' THEN s.retries ELSE 0 END,
    fallback = CASE WHEN s.status = 'completed' THEN s.fallback ELSE 0 END,
    worker = CASE WHEN s.status = 'completed' THEN s.worker END,
    starts = CASE WHEN s.status = 'completed' THEN s.starts ELSE '{}' END,
    error_class = NULL, error = NULL, error_details = NULL, fraction = NULL, note = NULL,
    dispatched_at = CASE WHEN s.status = 'completed' THEN s.dispatched_at END,
    published_at = CASE WHEN s.status = 'completed' THEN s.published_at END,
    started_at = CASE WHEN s.status = 'completed' THEN s.started_at END,
    finished_at = CASE WHEN s.status = 'completed' THEN s.finished_at END,
    degraded = false
WHERE s.execution_id = $1 AND s.step = $2 AND s.shard > 0 AND s.epoch = $3

-- name: release_shards
-- Dispatches the next shards of a step that are pending. They are chosen before any row is changed: as a table to join
-- with, they would be sought again for each shard.
UPDATE step_executions s
SET status = 'dispatched', dispatched_at = now(), published_at = NULL
WHERE s.execution_id = $1 AND s.step = $2 AND s.status = 'pending' AND s.epoch = $3
    AND s.shard = ANY (ARRAY(
        SELECT shard FROM step_executions
        WHERE execution_id = $1 AND step = $2 AND epoch = $3 AND shard > 0 AND status = 'pending'
        ORDER BY shard
        LIMIT $4))
RETURNING s.shard, s.attempt, s.stage

-- name: cancel_shards
-- Cancels all shards of these steps that are not over.
UPDATE step_executions s
SET status = 'cancelled', finished_at = now()
FROM unnest($1::uuid[], $2::text[], $3::integer[]) AS named (execution_id, step, epoch)
WHERE s.execution_id = named.execution_id AND s.step = named.step AND s.shard > 0 AND s.epoch = named.epoch
    AND s.status IN ('pending', 'ready', 'dispatched', 'running', 'waiting')

-- name: update_steps
-- Writes changed steps; the guard lets no write pass that was decided on another state than the stored one.
SELECT version, now() AS at FROM write_steps($1::json, NULL) AS version

-- name: update_executions
-- Writes changed executions, guarded by the status and epoch on which the change was decided.
SELECT id FROM write_executions($1::json, NULL) AS id

-- name: settle
-- Writes what was decided about those executions that are as they are remembered, and says which they are.
SELECT id, version, at, owed_ids
FROM settle($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::json, $6::json, $7::json, $8::json)

-- name: insert_deliverables
-- What an execution hands to its client, instead of what older epochs of the same steps made.
SELECT write_deliverables($1::json, NULL)

-- name: insert_timeline
-- Facts that a step row cannot tell.
INSERT INTO timeline (execution_id, kind, step, shard, attempt, actor, detail)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::integer[], $6::text[], $7::jsonb[])

-- name: mark_published
-- The broker has confirmed these tasks. A row that is being changed is left: a worker has it, or it is another attempt's.
UPDATE step_executions s
SET published_at = now()
FROM (
    SELECT t.execution_id, t.step, t.shard
    FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::integer[], $5::integer[])
        AS sent (execution_id, epoch, step, shard, attempt)
    JOIN step_executions t USING (execution_id, step, shard, epoch, attempt)
    WHERE t.status IN ('dispatched', 'running') AND t.published_at IS NULL
    FOR UPDATE OF t SKIP LOCKED
) AS confirmed
WHERE s.execution_id = confirmed.execution_id AND s.step = confirmed.step AND s.shard = confirmed.shard

-- name: joined_shards
-- The outcome of the shards of one step, in the order of their shards.
SELECT shard, status, output, error_class, error, error_details
FROM step_executions
WHERE execution_id = $1 AND step = $2 AND epoch = $3 AND shard > 0 AND status IN ('completed', 'failed')
ORDER BY shard
