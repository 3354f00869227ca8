-- name: steps
-- When each step of an execution was offered, begun and over, and from when on its present epoch counts, in seconds from
-- its submission, in the order of the template. A worker's own clock tells how long the last attempt ran: a short task is
-- accepted and completed at once.
SELECT p.name AS step, extract(epoch FROM o.at - e.created_at)::double precision AS opened,
       extract(epoch FROM s.dispatched_at - e.created_at)::double precision AS offered,
       extract(epoch FROM s.started_at - e.created_at)::double precision AS started,
       extract(epoch FROM s.finished_at - e.created_at)::double precision AS finished,
       CASE WHEN s.finished_at IS NOT NULL THEN (s.metrics ->> 'seconds')::double precision END AS worked
FROM executions e
JOIN pipeline_steps p ON p.template = e.template AND p.version = e.template_version
LEFT JOIN step_executions s ON s.execution_id = e.id AND s.step = p.name AND s.shard = 0
LEFT JOIN LATERAL (
    SELECT max(t.at) AS at FROM timeline t
    WHERE t.execution_id = e.id AND t.kind IN ('reopened', 'input_gone') AND t.detail ->> 'epoch' = s.epoch::text
) AS o ON s.epoch > 1
WHERE e.id = $1
ORDER BY p.position

-- name: shards
-- The same for the shards of a step's present epoch, the first $3. An attempt that was followed by another may have ended
-- after the last offer: then the row stands for an attempt that was not offered, and its times are those of before.
WITH parent AS MATERIALIZED (
    SELECT s.epoch, e.created_at
    FROM step_executions s JOIN executions e ON e.id = s.execution_id
    WHERE s.execution_id = $1 AND s.step = $2 AND s.shard = 0
), repeated AS MATERIALIZED (
    SELECT shard, max(at) AS at FROM timeline
    WHERE execution_id = $1 AND step = $2 AND shard > 0
        AND kind IN ('retry', 'outage', 'fallback', 'lease_lapsed', 'task_lost', 'task_died', 'input_gone', 'over_budget')
    GROUP BY shard
)
SELECT s.shard, s.status, s.attempt, s.worker,
       extract(epoch FROM s.dispatched_at - (SELECT created_at FROM parent))::double precision AS offered,
       extract(epoch FROM s.started_at - (SELECT created_at FROM parent))::double precision AS started,
       extract(epoch FROM s.finished_at - (SELECT created_at FROM parent))::double precision AS finished,
       CASE WHEN s.finished_at IS NOT NULL THEN (s.metrics ->> 'seconds')::double precision END AS worked,
       extract(epoch FROM r.at - (SELECT created_at FROM parent))::double precision AS repeated
FROM step_executions s
LEFT JOIN repeated r USING (shard)
WHERE s.execution_id = $1 AND s.step = $2 AND s.shard > 0 AND s.epoch = (SELECT epoch FROM parent)
ORDER BY s.shard
LIMIT $3

-- name: repeats
-- When attempts at the steps themselves ended that were followed by another, in seconds from the submission, the last $2
-- of them in their order.
SELECT step, ended, wait
FROM (
    SELECT t.step, t.at, extract(epoch FROM t.at - e.created_at)::double precision AS ended,
           coalesce((t.detail ->> 'wait')::double precision, 0) AS wait
    FROM timeline t
    JOIN executions e ON e.id = t.execution_id
    WHERE t.execution_id = $1 AND t.step IS NOT NULL AND coalesce(t.shard, 0) = 0
        AND t.kind IN ('retry', 'outage', 'fallback', 'lease_lapsed', 'task_lost', 'task_died', 'input_gone', 'over_budget')
    ORDER BY t.at DESC
    LIMIT $2
) AS last
ORDER BY at

-- name: costs
-- What the paid calls of each step cost and still reserve, in millionths of a US dollar.
SELECT step, sum(spent)::bigint AS spent, sum(reserved)::bigint AS reserved,
       count(*) FILTER (WHERE kind = 'post')::integer AS calls
FROM shared.budget_ledger
WHERE execution_id = $1
GROUP BY step
