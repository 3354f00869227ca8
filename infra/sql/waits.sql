-- name: oldest_offers
-- For how many seconds the oldest task of each stage and tier has waited in its queue for a worker.
SELECT s.stage, e.tier, extract(epoch FROM now() - min(s.published_at))::double precision AS seconds
FROM step_executions s
JOIN executions e ON e.id = s.execution_id
WHERE s.status = 'dispatched' AND s.published_at IS NOT NULL
GROUP BY s.stage, e.tier
