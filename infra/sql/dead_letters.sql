-- name: insert_dead_letter
-- Sets aside what needs a person; the same message is set aside once however often it arrives.
INSERT INTO dead_letters (kind, fingerprint, reason, explanation, queue, exchange, routing_key, message_type, message_id,
                          headers, body, client_id, tier, template, execution_id, stage, step, shard, epoch, attempt)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
ON CONFLICT (fingerprint) DO NOTHING

-- name: count_open
-- How many dead letters wait for a person.
SELECT count(*)::integer AS open FROM dead_letters WHERE status = 'open'

-- name: write_canary
-- Writes what every batch may write, to learn whether the database takes it at all.
WITH fact AS (
    INSERT INTO timeline (execution_id, kind) VALUES ('00000000-0000-0000-0000-000000000000', 'canary')
)
INSERT INTO shares (flow, finish) VALUES ('canary', 0) ON CONFLICT (flow) DO UPDATE SET finish = shares.finish + 1

-- name: remove_canary
-- Removes the canary's fact again.
DELETE FROM timeline WHERE execution_id = '00000000-0000-0000-0000-000000000000' AND kind = 'canary'
