-- name: set_retries
-- The delays of rows that wait for another attempt; one without seconds never ends by itself.
INSERT INTO timers (kind, subject, due_at, execution_id, epoch, step, shard, attempt)
SELECT 'retry', format('%s/%s/%s', execution_id, step, shard),
       CASE WHEN seconds IS NULL THEN 'infinity' ELSE now() + make_interval(secs => seconds) END,
       execution_id, epoch, step, shard, attempt
FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::integer[], $5::integer[], $6::double precision[])
    AS waiting (execution_id, epoch, step, shard, attempt, seconds)
ON CONFLICT (kind, subject) DO UPDATE
SET due_at = excluded.due_at, epoch = excluded.epoch, attempt = excluded.attempt

-- name: set_executions
-- The delays or the deadlines of executions, in seconds from now.
INSERT INTO timers (kind, subject, due_at, execution_id)
SELECT $1::text, execution_id::text, now() + make_interval(secs => seconds), execution_id
FROM unnest($2::uuid[], $3::double precision[]) AS given (execution_id, seconds)
ON CONFLICT (kind, subject) DO UPDATE SET due_at = excluded.due_at

-- name: set_schedule
-- When a schedule is due next.
INSERT INTO timers (kind, subject, due_at) VALUES ('schedule', $1, $2)
ON CONFLICT (kind, subject) DO UPDATE SET due_at = excluded.due_at

-- name: remove_schedule
-- A schedule is due no more.
DELETE FROM timers WHERE kind = 'schedule' AND subject = $1

-- name: hold
-- The delays of these executions' rows do not end while the executions are paused.
UPDATE timers SET due_at = 'infinity' WHERE kind = 'retry' AND execution_id = ANY($1::uuid[]) AND due_at <> 'infinity'

-- name: wake
-- The delays of these executions' rows are over.
UPDATE timers SET due_at = now() WHERE kind = 'retry' AND execution_id = ANY($1::uuid[]) AND due_at > now()

-- name: due
-- What is due, the longest due first.
SELECT kind, subject, due_at, execution_id, epoch, step, shard, attempt
FROM timers
WHERE due_at <= now()
ORDER BY due_at
LIMIT $1

-- name: seconds_to_next
-- When the next timer is due.
SELECT extract(epoch FROM due_at - now())::double precision AS seconds
FROM timers
WHERE due_at < 'infinity'
ORDER BY due_at
LIMIT 1

-- name: done
-- These timers have been seen to, unless they were set again meanwhile.
DELETE FROM timers t
USING unnest($1::text[], $2::text[], $3::timestamptz[]) AS seen (kind, subject, due_at)
WHERE t.kind = seen.kind AND t.subject = seen.subject AND t.due_at = seen.due_at
RETURNING t.subject

-- name: postpone
-- These timers are due again in $4 seconds, unless they were set again meanwhile.
UPDATE timers t
SET due_at = now() + make_interval(secs => $4)
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS seen (kind, subject, due_at)
WHERE t.kind = seen.kind AND t.subject = seen.subject AND t.due_at = seen.due_at

-- name: forget_held
-- Delays that will never end, because their executions were over before they were resumed.
DELETE FROM timers t
USING executions e
WHERE t.kind = 'retry' AND t.due_at = 'infinity' AND e.id = t.execution_id
    AND e.status IN ('completed', 'partial', 'failed', 'cancelled')
