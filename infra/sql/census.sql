-- name: count_executions
-- Executions that are not over, by status and tier, each counted up to $1: a longer line says no more. The orders are
-- those of indexes that hold nothing else.
SELECT status, tier, count(*)::integer AS executions
FROM (
    (SELECT status, tier FROM executions WHERE status = 'queued' ORDER BY client_id, urgency DESC, rank LIMIT $1)
    UNION ALL
    (SELECT status, tier FROM executions WHERE status = 'running' ORDER BY client_id LIMIT $1)
    UNION ALL
    (SELECT status, tier FROM executions WHERE status = 'paused' ORDER BY client_id LIMIT $1)
) AS living
GROUP BY status, tier

-- name: longest_queued
-- For how long the first in line of any client of each tier has waited for a slot. What was resumed or reopened waits
-- since then, which is the latest fact of its timeline. Who is paused waits for no slot.
WITH RECURSIVE waiting (client_id) AS (
    (SELECT client_id FROM executions WHERE status = 'queued' ORDER BY client_id LIMIT 1)
    UNION ALL
    SELECT (SELECT e.client_id FROM executions e WHERE e.status = 'queued' AND e.client_id > w.client_id
            ORDER BY e.client_id LIMIT 1)
    FROM waiting w WHERE w.client_id IS NOT NULL
)
SELECT h.tier, max(extract(epoch FROM now() - h.queued_at))::double precision AS seconds
FROM waiting w
CROSS JOIN LATERAL (
    SELECT e.tier, greatest(e.created_at, (SELECT max(t.at) FROM timeline t WHERE t.execution_id = e.id)) AS queued_at
    FROM executions e
    WHERE e.client_id = w.client_id AND e.status = 'queued'
    ORDER BY e.urgency DESC, e.rank
    LIMIT 1
) AS h
WHERE w.client_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM pauses p WHERE p.kind = 'client' AND p.name = w.client_id)
GROUP BY h.tier

-- name: count_tasks
-- Tasks that are not over, by stage, tier and status, with the age of the oldest offer that nobody has begun.
SELECT s.stage, e.tier, s.status, count(*)::integer AS tasks,
       max(extract(epoch FROM now() - s.dispatched_at)) FILTER (WHERE s.status = 'dispatched')::double precision AS oldest
FROM step_executions s
JOIN executions e ON e.id = s.execution_id
WHERE s.status IN ('ready', 'dispatched', 'running', 'waiting') AND s.shards IS NULL
GROUP BY s.stage, e.tier, s.status

-- name: count_stuck
-- Running executions in which nothing has been on its way for $1 seconds; there should never be one.
SELECT count(*)::integer AS executions
FROM executions e
WHERE e.status = 'running' AND e.started_at < now() - make_interval(secs => $1)
    AND NOT EXISTS (
        SELECT 1 FROM step_executions s
        WHERE s.execution_id = e.id
            AND (s.status IN ('ready', 'dispatched', 'running', 'waiting')
                 OR s.finished_at > now() - make_interval(secs => $1)))

-- name: count_dead_letters
-- Open dead letters by kind and reason, with the age of the oldest.
SELECT kind, reason, count(*)::integer AS letters,
       max(extract(epoch FROM now() - created_at))::double precision AS oldest
FROM dead_letters
WHERE status = 'open'
GROUP BY kind, reason

-- name: count_owed
-- Messages that are owed after a commit, counted up to $1, with the age of the oldest.
SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox ORDER BY id LIMIT $1) AS counted)::integer AS messages,
       coalesce((SELECT extract(epoch FROM now() - created_at) FROM outbox ORDER BY id LIMIT 1), 0)::double precision
           AS oldest

-- name: count_workers
-- Worker processes that were heard of within $1 seconds, by stage; one of several stages counts for each.
SELECT stage, count(*)::integer AS workers, sum(capacity)::integer AS slots
FROM worker_instances, unnest(stages) AS stage
WHERE NOT stopped AND last_seen > now() - make_interval(secs => $1)
GROUP BY stage

-- name: money
-- What was reserved and spent in the present month (UTC) by the clients of each tier, and how many of those that have a
-- budget have used at least $1 of it.
SELECT c.tier, sum(coalesce(m.reserved, 0))::bigint AS reserved, sum(coalesce(m.spent, 0))::bigint AS spent,
       count(*) FILTER (WHERE c.monthly_budget > 0
                        AND coalesce(m.reserved + m.spent, 0) 
                            >= $1::double precision * c.monthly_budget)::integer AS near
FROM clients c
LEFT JOIN shared.budget_months m
    ON m.client_id = c.id AND m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
GROUP BY c.tier
