-- name: list_executions
-- The latest executions that fit; null fits everything. $4 is an age in seconds.
SELECT id, client_id, tier, template, template_version, status, urgency, created_at, started_at, finished_at, explanation,
       extract(epoch FROM coalesce(finished_at, now()) - created_at)::double precision AS seconds
FROM executions
WHERE ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR client_id = $2) AND ($3::text IS NULL OR template = $3)
    AND ($4::double precision IS NULL OR created_at >= now() - make_interval(secs => $4))
ORDER BY created_at DESC
LIMIT $5

-- name: find_execution
-- One execution.
SELECT id, client_id, tier, template, template_version, status, urgency, created_at, started_at, finished_at, explanation,
       extract(epoch FROM coalesce(finished_at, now()) - created_at)::double precision AS seconds
FROM executions
WHERE id = $1

-- name: execution_parameters
-- What a job asked for, defaults filled in.
SELECT submit_key, parameters, quality, optimise_for, budget, epoch FROM executions WHERE id = $1

-- name: execution_steps
-- The steps of an execution in the order of its template; one that has no row yet is pending.
SELECT p.name AS step, coalesce(s.stage, p.stage) AS stage, p.depends_on, p.fan_out IS NOT NULL AS fanned_out,
       coalesce(s.status, 'pending') AS status, coalesce(s.attempt, 1) AS attempt, coalesce(s.retries, 0) AS retries,
       s.shards, s.worker, s.summary, s.error_class, s.error, s.fraction, s.note, s.output, s.files,
       extract(epoch FROM coalesce(s.finished_at, now()) - coalesce(s.started_at, s.dispatched_at))::double precision
           AS seconds
FROM executions e
JOIN pipeline_steps p ON p.template = e.template AND p.version = e.template_version
LEFT JOIN step_executions s ON s.execution_id = e.id AND s.step = p.name AND s.shard = 0
WHERE e.id = $1
ORDER BY p.position

-- name: shard_counts
-- Shards of an execution by step and status, and how often they were tried again; those of older epochs do not count.
SELECT s.step, s.status, count(*)::integer AS shards, sum(s.retries)::integer AS retries
FROM step_executions parent
JOIN step_executions s ON s.execution_id = parent.execution_id AND s.step = parent.step AND s.shard > 0
    AND s.epoch = parent.epoch
WHERE parent.execution_id = $1 AND parent.shard = 0 AND parent.shards IS NOT NULL
GROUP BY s.step, s.status

-- name: shards
-- The shards of one step with what they came to.
SELECT shard, status, attempt, retries, summary, output, error_class, error, error_details
FROM step_executions
WHERE execution_id = $1 AND step = $2 AND shard > 0
ORDER BY shard
LIMIT $3

-- name: deliverables
-- What an execution hands to its client.
SELECT step, format, ref, created_at FROM deliverables WHERE execution_id = $1 ORDER BY step, format

-- name: timeline
-- The latest facts of an execution that its step rows cannot tell, the newest last.
SELECT at, kind, step, shard, attempt, actor, detail
FROM (SELECT * FROM timeline WHERE execution_id = $1 ORDER BY at DESC LIMIT $2) AS latest
ORDER BY at

-- name: count_executions
-- How many executions wait and run, and what became of those of the last day, each counted up to $1.
SELECT 'queued' AS status, count(*)::integer AS executions
FROM (SELECT 1 FROM executions WHERE status = 'queued' LIMIT $1) AS queued
UNION ALL
SELECT 'running', count(*)::integer FROM (SELECT 1 FROM executions WHERE status = 'running' LIMIT $1) AS running
UNION ALL
SELECT status, count(*)::integer
FROM (SELECT status FROM executions WHERE created_at > now() - interval '1 day' ORDER BY created_at DESC LIMIT $1) AS day
WHERE status NOT IN ('queued', 'running')
GROUP BY status

-- name: live_workers
-- Worker instances that were heard of within $1 seconds and do not leave.
SELECT id, stages, capacity, in_flight, started_at, extract(epoch FROM now() - last_seen)::double precision AS silent
FROM worker_instances
WHERE NOT stopped AND last_seen > now() - make_interval(secs => $1)
ORDER BY started_at
LIMIT $2

-- name: clients
-- Who may submit.
SELECT id, name, tier, amqp_user, monthly_budget, active FROM clients ORDER BY id LIMIT $1
