-- name: insert_owed
-- Publishes owed after the commit.
SELECT id FROM write_owed($1::json, NULL)

-- name: claim_owed
-- Publishes that were owed for longer than $1 seconds, each to one coordinator at a time.
SELECT id, exchange, routing_key, message_type, body, correlation_id, traceparent, mandatory, execution_id, reply_to,
       headers
FROM outbox
WHERE created_at < now() - make_interval(secs => $1)
ORDER BY id
LIMIT $2
FOR UPDATE SKIP LOCKED

-- name: delete_owed
-- These publishes are done.
DELETE FROM outbox WHERE id = ANY($1::bigint[])
