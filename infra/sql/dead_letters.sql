-- name: insert_message
-- Sets a message aside; the same one is set aside once, and one without an id that comes again is open again.
INSERT INTO dead_letters (kind, fingerprint, reason, explanation, queue, exchange, routing_key, message_type, message_id,
                          headers, body, client_id, tier, template, execution_id, stage, step, shard, epoch, attempt,
                          refs, traceparent, again_of)
SELECT 'message', $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, coalesce(e.client_id, $11), coalesce(e.tier, $12),
       coalesce(e.template, $13), $14, coalesce($15, s.stage), $16, $17, $18, $19, $20, coalesce($21, e.traceparent),
       (SELECT earlier.id FROM dead_letters earlier WHERE earlier.id = $22 AND earlier.status = 'requeued')
FROM (SELECT 1) AS one
LEFT JOIN executions e ON e.id = $14::uuid
LEFT JOIN step_executions s ON s.execution_id = e.id AND s.step = $16::text AND s.shard = coalesce($17::integer, 0)
ON CONFLICT (fingerprint) DO UPDATE SET status = 'open', operation_id = NULL, problem = '', resolved_at = NULL
WHERE dead_letters.message_id IS NULL AND dead_letters.status <> 'open'

-- name: insert_step
-- Sets a failed step aside, with the documents that it read and every attempt that the timeline and its shards tell of.
INSERT INTO dead_letters (kind, fingerprint, reason, explanation, error_class, client_id, tier, template, execution_id,
                          stage, step, shard, epoch, attempt, traceparent, refs, history, again_of)
SELECT 'step', $1, $2, $3, $4, $5, $6, $7, $9, $10, $11, $12, $13, $14, $15,
       $16::jsonb || coalesce((
           SELECT jsonb_agg(jsonb_build_object('step', u.step) || (u.output - 'data') ORDER BY u.step)
           FROM pipeline_steps p
           JOIN step_executions u ON u.execution_id = $9 AND u.shard = 0 AND u.step = ANY (p.depends_on)
           WHERE p.template = $7 AND p.version = $8 AND p.name = $11 AND u.output IS NOT NULL), '[]'),
       coalesce((
           SELECT jsonb_agg(jsonb_build_object('at', t.at, 'kind', t.kind, 'shard', t.shard, 'attempt', t.attempt)
                            || t.detail ORDER BY t.at)
           FROM (SELECT * FROM timeline WHERE execution_id = $9 AND step = $11 ORDER BY at DESC LIMIT 200) AS t), '[]')
       || coalesce((
           SELECT jsonb_agg(jsonb_build_object('at', f.finished_at, 'kind', 'failed', 'shard', f.shard,
                                               'attempt', f.attempt, 'worker', f.worker, 'error_class', f.error_class,
                                               'explanation', f.error) ORDER BY f.shard)
           FROM (SELECT * FROM step_executions
                 WHERE execution_id = $9 AND step = $11 AND shard > 0 AND epoch = $13 AND status = 'failed'
                 ORDER BY shard LIMIT 50) AS f), '[]')
       || jsonb_build_array(jsonb_build_object('at', now()) || $17::jsonb),
       (SELECT max(earlier.id) FROM dead_letters earlier
        WHERE earlier.execution_id = $9 AND earlier.kind = 'step' AND earlier.step = $11 AND earlier.status = 'requeued')
ON CONFLICT (fingerprint) DO NOTHING

-- name: settle_reopened
-- The steps of these executions that are done again need no person any more.
UPDATE dead_letters d SET status = 'requeued', resolved_at = now(), note = 'its step is done again', problem = ''
FROM step_executions s
WHERE d.execution_id = ANY ($1::uuid[]) AND d.kind = 'step' AND d.status = 'open'
  AND s.execution_id = d.execution_id AND s.step = d.step AND s.shard = d.shard AND s.epoch > d.epoch

-- name: count_open
-- How many dead letters wait for a person.
SELECT count(*)::integer AS open FROM dead_letters WHERE status = 'open'

-- name: count_newer
-- How many messages wait for this reason.
SELECT count(*)::integer AS open FROM dead_letters WHERE status = 'open' AND reason = $1

-- name: listing
-- The latest $2 dead letters that fit a filter, without what they hold.
SELECT id, kind, status, reason, error_class, explanation, client_id AS client, tier, template, execution_id, stage, step,
       shard, epoch, attempt, queue, message_type, operation_id, again_of, problem, note, created_at, resolved_at,
       traceparent
FROM matching_dead_letters($1)
ORDER BY id DESC
LIMIT $2

-- name: contents
-- Dead letters after this id that fit a filter, with all they hold, in the order in which they came.
SELECT id, kind, status, reason, error_class, explanation, client_id AS client, tier, template, execution_id, stage, step,
       shard, epoch, attempt, queue, message_type, operation_id, again_of, problem, note, created_at, resolved_at,
       traceparent, exchange, routing_key, message_id, headers, body, refs, history
FROM matching_dead_letters($1)
WHERE id > $2
ORDER BY id
LIMIT $3

-- name: tally
-- How many dead letters fit a filter, by what is wrong with them and where.
SELECT kind, reason, coalesce(error_class, '') AS error_class, coalesce(stage, queue, '') AS place,
       count(*)::integer AS letters
FROM matching_dead_letters($1)
GROUP BY 1, 2, 3, 4
ORDER BY letters DESC, kind, reason, error_class, place
LIMIT 100

-- name: readable
-- Open messages after this id that no reader knew when they came, for which no requeueing was tried yet.
SELECT id, message_type, queue, body
FROM dead_letters
WHERE status = 'open' AND kind = 'message' AND id > $1 AND reason = ANY ($2::text[])
  AND message_type = ANY ($3::text[]) AND again_of IS NULL AND operation_id IS NULL
  AND (queue LIKE 'jobs.%' OR queue LIKE 'events.%')
ORDER BY id
LIMIT $4
