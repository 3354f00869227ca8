-- name: ended
-- What ended in the last $1 seconds: executions, and the attempts of steps and shards that were the last of theirs.
SELECT (SELECT count(*) FROM executions
        WHERE finished_at > now() - make_interval(secs => $1) AND finished_at <= now())::integer AS executions,
       (SELECT count(*) FROM executions
        WHERE finished_at > now() - make_interval(secs => $1) AND finished_at <= now()
            AND status = 'failed')::integer AS executions_failed,
       steps.done AS steps, steps.failed AS steps_failed
FROM (
    SELECT count(*)::integer AS done, (count(*) FILTER (WHERE status = 'failed'))::integer AS failed
    FROM step_executions
    WHERE finished_at > now() - make_interval(secs => $1) AND finished_at <= now()
        AND shards IS NULL AND status IN ('completed', 'failed')
) AS steps

-- name: under_way
-- The executions that have run for longest, then paused ones, $1 of each, as far as the first $2 of a status go; with the
-- steps at which they are. Shards are counted where there are at most $3 of them.
WITH listed AS (
    (SELECT id, client_id AS client, tier, template, template_version, status, pause_reason, started_at, created_at
     FROM (SELECT * FROM executions WHERE status = 'running' LIMIT $2) AS running
     ORDER BY started_at LIMIT $1)
    UNION ALL
    (SELECT id, client_id, tier, template, template_version, status, pause_reason, started_at, created_at
     FROM (SELECT * FROM executions WHERE status = 'paused' LIMIT $2) AS paused
     ORDER BY created_at LIMIT $1)
)
SELECT l.id, l.client, l.tier, l.template, l.template_version, l.status, l.pause_reason,
       extract(epoch FROM now() - l.created_at)::double precision AS seconds,
       extract(epoch FROM now() - l.started_at)::double precision AS running_seconds, s.steps, s.over, s.present
FROM listed l
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS steps,
           (count(*) FILTER (WHERE r.status IN ('completed', 'failed', 'skipped', 'cancelled')))::integer AS over,
           coalesce(jsonb_agg(jsonb_build_object(
               'step', p.name, 'status', r.status, 'fraction', r.fraction, 'note', r.note, 'shards', r.shards,
               'done', CASE WHEN r.shards <= $3 THEN (
                   SELECT count(*) FROM step_executions d
                   WHERE d.execution_id = l.id AND d.step = p.name AND d.shard > 0 AND d.epoch = r.epoch
                       AND d.status IN ('completed', 'failed', 'cancelled')) END
           ) ORDER BY p.position) FILTER (WHERE r.status IN ('ready', 'dispatched', 'running', 'waiting')), '[]') AS present
    FROM pipeline_steps p
    LEFT JOIN step_executions r ON r.execution_id = l.id AND r.step = p.name AND r.shard = 0
    WHERE p.template = l.template AND p.version = l.template_version
) AS s
ORDER BY l.status DESC, l.started_at

-- name: open_letters
-- Open dead letters by reason and place, as far as the latest $1 go, with the ages of the oldest and the newest.
SELECT reason, coalesce(error_class, '') AS error_class, coalesce(stage, queue, '') AS place, count(*)::integer AS letters,
       extract(epoch FROM now() - min(created_at))::double precision AS oldest,
       extract(epoch FROM now() - max(created_at))::double precision AS newest
FROM (SELECT * FROM dead_letters WHERE status = 'open' ORDER BY id DESC LIMIT $1) AS latest
GROUP BY 1, 2, 3
ORDER BY newest, letters DESC
LIMIT 100
