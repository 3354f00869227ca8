-- name: lock_claims
-- One operation claims letters at a time, so that no letter is claimed by two.
SELECT pg_advisory_xact_lock(hashtext('dead_operations'))

-- name: insert_operation
-- An operation that has no letters yet.
INSERT INTO dead_operations (action, actor, note, filter, canary, rate) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id

-- name: claim_letters
-- Gives an operation the open letters that fit its filter and that no active operation has.
WITH claimed AS (
    UPDATE dead_letters d SET operation_id = $1, problem = ''
    FROM matching_dead_letters($2) AS m
    WHERE d.id = m.id AND d.status = 'open' AND NOT EXISTS (
        SELECT FROM dead_operations o WHERE o.id = d.operation_id AND o.status IN ('running', 'canary'))
    RETURNING 1
)
UPDATE dead_operations SET total = (SELECT count(*) FROM claimed) WHERE id = $1 RETURNING total

-- name: active
-- The operations that are to be carried out.
SELECT id, status FROM dead_operations WHERE status IN ('running', 'canary') ORDER BY id

-- name: take_operation
-- An operation that is in this status, for this transaction alone, if something of it may be done by now.
SELECT id, action, status, actor, note, canary, rate, proved_at IS NOT NULL AS proved
FROM dead_operations
WHERE id = $1 AND status = $2 AND next_at <= now()
FOR NO KEY UPDATE SKIP LOCKED

-- name: next_letter
-- The first letter of an operation that was not dealt with yet.
SELECT id, kind, execution_id, epoch, step, shard, attempt, queue, exchange, routing_key, message_type, headers, body,
       traceparent
FROM dead_letters
WHERE operation_id = $1 AND status = 'open' AND problem = ''
ORDER BY id
LIMIT 1

-- name: owes
-- Whether a message of one of an operation's letters is still to be published.
SELECT EXISTS (
    SELECT FROM outbox owed JOIN dead_letters d ON d.id = (owed.headers ->> 'dead_letter')::bigint
    WHERE owed.headers ? 'dead_letter' AND d.operation_id = $1
) AS owes

-- name: tried
-- How many letters of an operation were dealt with, those with a problem included; counted up to $2.
SELECT count(*)::integer AS letters
FROM (SELECT FROM dead_letters WHERE operation_id = $1 AND (status <> 'open' OR problem <> '') LIMIT $2) AS first

-- name: discard_letters
-- Discards the next letters of an operation.
WITH next AS (
    SELECT id FROM dead_letters WHERE operation_id = $1 AND status = 'open' AND problem = ''
    ORDER BY id LIMIT $2 FOR NO KEY UPDATE
), discarded AS (
    UPDATE dead_letters d SET status = 'discarded', resolved_at = now(), note = $3 FROM next WHERE d.id = next.id
    RETURNING 1
)
SELECT count(*)::integer AS letters FROM discarded

-- name: resolve_letter
-- A letter has been dealt with.
UPDATE dead_letters SET status = $2, resolved_at = now(), note = $3, problem = '', landed_at = NULL WHERE id = $1

-- name: note_problem
-- A letter could not be dealt with; it stays open.
UPDATE dead_letters SET problem = $2 WHERE id = $1 AND status = 'open'

-- name: pace
-- When the next letter of an operation may be dealt with: up to a second of what was missed is caught up with.
UPDATE dead_operations SET next_at = greatest(next_at, now() - interval '1 second') + make_interval(secs => 1 / rate)
WHERE id = $1 AND rate IS NOT NULL

-- name: move_operation
-- How an operation stands from now on.
UPDATE dead_operations
SET status = $2,
    proved_at = CASE WHEN status = 'canary' AND $2 = 'running' THEN now() ELSE proved_at END,
    finished_at = CASE WHEN $2 IN ('done', 'stopped', 'canary_failed') THEN now() END
WHERE id = $1

-- name: verdicts
-- What became of the letters of a canary. A requeued message counts as used when a coordinator has said so; a task, which
-- coordinators do not read, when its row is not offered any more.
SELECT count(*) FILTER (WHERE verdict = 'badly')::integer AS badly,
       count(*) FILTER (WHERE verdict = 'waiting')::integer AS waiting
FROM (
    SELECT CASE
        WHEN d.status = 'open' OR EXISTS (SELECT FROM dead_letters a WHERE a.again_of = d.id) THEN 'badly'
        WHEN d.status = 'discarded' THEN 'well'
        WHEN d.kind = 'step' AND s.epoch > d.epoch AND s.status IN ('completed', 'skipped') THEN 'well'
        WHEN d.kind = 'step' AND (e.id IS NULL OR e.status IN ('completed', 'partial', 'failed', 'cancelled'))
            THEN 'badly'
        WHEN d.kind = 'step' OR owed.id IS NOT NULL THEN 'waiting'
        WHEN d.landed_at IS NOT NULL THEN 'well'
        WHEN d.queue LIKE 'stage.%' AND d.resolved_at < now() - make_interval(secs => $2)
             AND (s.status IS NULL OR s.status <> 'dispatched' OR (s.epoch, s.attempt) <> (d.epoch, d.attempt))
            THEN 'well'
        ELSE 'waiting'
    END AS verdict
    FROM dead_letters d
    LEFT JOIN executions e ON e.id = d.execution_id
    LEFT JOIN step_executions s ON s.execution_id = d.execution_id AND s.step = d.step AND s.shard = coalesce(d.shard, 0)
    LEFT JOIN outbox owed ON owed.headers ? 'dead_letter' AND (owed.headers ->> 'dead_letter')::bigint = d.id
    WHERE d.operation_id = $1 AND (d.status <> 'open' OR d.problem <> '')
) AS judged

-- name: reopen
-- The messages of these letters could not be published; the letters are open again.
UPDATE dead_letters SET status = 'open', resolved_at = NULL, problem = $2
WHERE id = ANY ($1::bigint[]) AND status = 'requeued'

-- name: landed
-- A coordinator has used these messages after their requeueing, whatever came of it.
UPDATE dead_letters SET landed_at = now() WHERE id = ANY ($1::bigint[]) AND status = 'requeued' AND landed_at IS NULL

-- name: listing
-- The latest operations, or the one of this id, with how far each has come.
SELECT o.id, o.action, o.status, o.actor, o.note, o.filter, o.canary, o.rate, o.total, o.created_at, o.proved_at,
       o.stopped_by, o.finished_at, c.done, c.problems, c.left
FROM dead_operations o
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE d.status <> 'open')::integer AS done,
           count(*) FILTER (WHERE d.status = 'open' AND d.problem <> '')::integer AS problems,
           count(*) FILTER (WHERE d.status = 'open' AND d.problem = '')::integer AS left
    FROM dead_letters d WHERE d.operation_id = o.id
) AS c
WHERE $1::bigint IS NULL OR o.id = $1
ORDER BY o.id DESC
LIMIT $2

-- name: stop
-- Stops an operation that is not over; its letters that were not dealt with stay open.
UPDATE dead_operations SET status = 'stopped', stopped_by = $2, finished_at = now()
WHERE id = $1 AND status IN ('running', 'canary')
RETURNING id

-- name: resume
-- Goes on with an operation that was stopped.
UPDATE dead_operations SET status = 'running', finished_at = NULL, next_at = now()
WHERE id = $1 AND status = 'stopped'
RETURNING id
