-- name: record_heartbeat
-- A worker instance is alive; an older heartbeat never overtakes a newer one.
INSERT INTO worker_instances (id, stages, capacity, in_flight, sequence, stopped) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO UPDATE SET stages = excluded.stages, capacity = excluded.capacity, in_flight = excluded.in_flight,
    sequence = excluded.sequence, stopped = excluded.stopped, last_seen = now()
WHERE worker_instances.sequence < excluded.sequence
RETURNING id

-- name: claim_held
-- The worker holds these tasks, so they were published. Rows that a batch is changing are left for the next heartbeat.
UPDATE step_executions s
SET worker = $1, published_at = coalesce(s.published_at, now())
FROM (
    SELECT t.execution_id, t.step, t.shard
    FROM unnest($2::uuid[], $3::integer[], $4::text[], $5::integer[], $6::integer[])
        AS held (execution_id, epoch, step, shard, attempt)
    JOIN step_executions t USING (execution_id, step, shard, epoch, attempt)
    WHERE t.status IN ('dispatched', 'running') AND t.worker IS DISTINCT FROM $1
    FOR UPDATE OF t SKIP LOCKED
) AS mine
WHERE s.execution_id = mine.execution_id AND s.step = mine.step AND s.shard = mine.shard

-- name: release_unheld
-- The worker no longer holds what it held before: it may be in the queue again, or its event is on its way.
UPDATE step_executions s
SET worker = NULL
FROM (
    SELECT t.execution_id, t.step, t.shard
    FROM step_executions t
    WHERE t.status IN ('dispatched', 'running') AND t.worker = $1
        AND NOT EXISTS (
            SELECT 1
            FROM unnest($2::uuid[], $3::integer[], $4::text[], $5::integer[], $6::integer[])
                AS held (execution_id, epoch, step, shard, attempt)
            WHERE held.execution_id = t.execution_id AND held.epoch = t.epoch AND held.step = t.step
                AND held.shard = t.shard AND held.attempt = t.attempt)
    FOR UPDATE OF t SKIP LOCKED
) AS gone
WHERE s.execution_id = gone.execution_id AND s.step = gone.step AND s.shard = gone.shard

-- name: unpublished
-- Tasks whose publish has been owed for longer than $1 seconds.
SELECT execution_id, epoch, step, shard, attempt
FROM step_executions
WHERE status = 'dispatched' AND published_at IS NULL AND dispatched_at < now() - make_interval(secs => $1)
ORDER BY dispatched_at
LIMIT $2

-- name: unprepared
-- Steps whose inputs should have been gathered long ago.
SELECT execution_id, epoch, step, shard, attempt
FROM step_executions
WHERE status = 'ready'
LIMIT $1

-- name: lapsed
-- Tasks whose worker has not been heard of for a lease period of $1 seconds. A task whose event was set aside, because
-- it is of a version that its reader does not know, is not done again while the event waits or has just been requeued.
SELECT s.execution_id, s.epoch, s.step, s.shard, s.attempt, s.worker
FROM step_executions s
LEFT JOIN worker_instances w ON w.id = s.worker
WHERE s.status IN ('dispatched', 'running') AND s.worker IS NOT NULL
    AND greatest(w.last_seen, s.started_at, s.dispatched_at) < now() - make_interval(secs => $1)
    AND NOT EXISTS (
        SELECT FROM dead_letters d
        WHERE d.execution_id = s.execution_id AND d.epoch = s.epoch AND d.step = s.step
            AND coalesce(d.shard, 0) = s.shard AND d.attempt = s.attempt AND d.reason = 'unknown_version'
            AND (d.status = 'open' OR d.resolved_at > now() - make_interval(secs => $1)))
LIMIT $2

-- name: overdue
-- Tasks that a worker holds longer than their time-out and $1 seconds of grace allow.
SELECT s.execution_id, s.epoch, s.step, s.shard, s.attempt
FROM step_executions s
JOIN executions e ON e.id = s.execution_id
JOIN pipeline_steps p ON p.template = e.template AND p.version = e.template_version AND p.name = s.step
WHERE s.status = 'running' AND s.worker IS NOT NULL
    AND s.started_at < now() - make_interval(secs => coalesce(p.timeout, 60) + $1)
LIMIT $2

-- name: crash_looped
-- Tasks of which $1 confirmed starts each ended with the death of the worker instance, unheard of for $2 seconds.
SELECT s.execution_id, s.epoch, s.step, s.shard, s.attempt, deaths.deaths
FROM step_executions s
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS deaths
    FROM unnest(s.starts) AS start (worker)
    LEFT JOIN worker_instances w ON w.id = start.worker
    WHERE w.id IS NULL OR (NOT w.stopped AND w.last_seen < now() - make_interval(secs => $2))
) AS deaths
WHERE s.status IN ('dispatched', 'running') AND cardinality(s.starts) >= $1 AND deaths.deaths >= $1
LIMIT $3

-- name: unheld
-- Published tasks that no worker has held for longer than $1 seconds, the oldest $2 of each queue, with that queue; so
-- that a queue in which many wait hides no other. Again without those whose event was set aside.
SELECT execution_id, epoch, step, shard, attempt, stage, tier, published_at
FROM (
    SELECT s.execution_id, s.epoch, s.step, s.shard, s.attempt, s.stage, e.tier, s.published_at,
           row_number() OVER (PARTITION BY s.stage, e.tier ORDER BY s.published_at) AS place
    FROM step_executions s
    JOIN executions e ON e.id = s.execution_id
    WHERE s.status IN ('dispatched', 'running') AND s.worker IS NULL
        AND s.published_at < now() - make_interval(secs => $1)
        AND NOT EXISTS (
            SELECT FROM dead_letters d
            WHERE d.execution_id = s.execution_id AND d.epoch = s.epoch AND d.step = s.step
                AND coalesce(d.shard, 0) = s.shard AND d.attempt = s.attempt AND d.reason = 'unknown_version'
                AND (d.status = 'open' OR d.resolved_at > now() - make_interval(secs => $1)))
) AS waiting
WHERE place <= $2
ORDER BY published_at

-- name: database_time
-- The one clock.
SELECT clock_timestamp() AS now

-- name: live_cancels
-- Executions that were cancelled within the last $1 seconds.
SELECT id, epoch FROM executions
WHERE status = 'cancelled' AND finished_at > now() - make_interval(secs => $1)
ORDER BY finished_at DESC
LIMIT $2

-- name: forget_instances
-- Worker instances that have been gone for a day and hold nothing.
DELETE FROM worker_instances w
WHERE w.last_seen < now() - interval '1 day'
    AND NOT EXISTS (SELECT 1 FROM step_executions s
                    WHERE s.status IN ('dispatched', 'running', 'waiting') AND (s.worker = w.id OR w.id = ANY(s.starts)))

-- name: make_partitions
-- The timeline's partitions of this month and the next ones.
SELECT make_timeline_partitions($1)
