-- name: try_lock
-- Whether no other coordinator removes anything at this moment; none does until the transaction ends.
SELECT pg_try_advisory_xact_lock($1) AS alone

-- name: remove_executions
-- Removes executions that were over $1 seconds ago, the next $4 in the order in which they came after $2 and $3, fewer
-- if they have more than $5 steps and shards. What somebody works with is left, and so is what an open dead letter needs.
-- Steps, deliverables and timers go with their execution.
WITH old AS MATERIALIZED (
    SELECT e.id, e.created_at
    FROM executions e
    WHERE (e.created_at, e.id) > ($2::timestamptz, $3::uuid) AND e.created_at < now() - make_interval(secs => $1)
        AND e.status IN ('completed', 'partial', 'failed', 'cancelled')
        AND e.finished_at < now() - make_interval(secs => $1)
        AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.execution_id = e.id AND d.status = 'open')
    ORDER BY e.created_at, e.id
    LIMIT $4
    FOR UPDATE SKIP LOCKED
), weighed AS (
    SELECT old.id, old.created_at,
           row_number() OVER preceding AS place, sum(coalesce(steps.rows, 0)) OVER preceding AS rows
    FROM old
    CROSS JOIN LATERAL (
        SELECT sum(1 + coalesce(s.shards, 0)) AS rows
        FROM step_executions s WHERE s.execution_id = old.id AND s.shard = 0
    ) AS steps
    WINDOW preceding AS (ORDER BY old.created_at, old.id)
), removed AS (
    DELETE FROM executions e USING weighed w WHERE e.id = w.id AND (w.place = 1 OR w.rows <= $5)
    RETURNING e.id, e.created_at
)
SELECT id, created_at FROM removed ORDER BY created_at, id

-- name: remove_letters
-- Removes up to $2 dead letters that were settled $1 seconds ago, unless their operation still counts them.
DELETE FROM dead_letters
WHERE id = ANY (ARRAY(
    SELECT l.id FROM dead_letters l
    WHERE l.resolved_at < now() - make_interval(secs => $1) AND l.status <> 'open'
        AND coalesce(l.operation_id, 0) <> ALL (ARRAY(
            SELECT o.id FROM dead_operations o WHERE o.status IN ('running', 'canary')))
    ORDER BY l.resolved_at, l.id
    LIMIT $2
    FOR UPDATE SKIP LOCKED))
RETURNING id

-- name: remove_owed
-- Removes those of the $2 oldest publishes owed that nobody could make in $1 seconds, about executions that are gone.
DELETE FROM outbox
WHERE id = ANY (ARRAY(
    SELECT first.id
    FROM (SELECT id, created_at, execution_id FROM outbox ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) AS first
    WHERE first.created_at < now() - make_interval(secs => $1) AND first.execution_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM executions e WHERE e.id = first.execution_id)))

-- name: remove_strays
-- Removes up to $2 facts from before $1 seconds ago that are in no month's partition.
DELETE FROM timeline_default
WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM timeline_default WHERE at < now() - make_interval(secs => $1) LIMIT $2))

-- name: drop_partition
-- Drops the oldest month of the timeline that was over $1 seconds ago, unless somebody uses it; null if there is none.
SELECT drop_timeline_partition(now() - make_interval(secs => $1)) AS dropped
