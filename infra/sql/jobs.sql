-- name: load_clients
-- The clients of these ids, with what they spent in the present month.
SELECT c.id, c.tier, c.amqp_user, c.active, c.monthly_budget, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM') AS month,
       coalesce((SELECT m.spent FROM shared.budget_months m
                 WHERE m.client_id = c.id AND m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date), 0) AS spent
FROM clients c
WHERE c.id = ANY($1::text[])

-- name: service_users
-- Which of these broker users may act for every client.
SELECT amqp_user FROM users WHERE role = 'service' AND amqp_user = ANY($1::text[])

-- name: queued_ahead
-- How many jobs of each client are queued already, counted up to a thousand.
SELECT c.id AS client_id, q.ahead
FROM unnest($1::text[]) AS c (id)
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS ahead
    FROM (SELECT 1 FROM executions e WHERE e.client_id = c.id AND e.status = 'queued' LIMIT 1000) AS first
) AS q

-- name: insert_executions
-- Stores jobs as queued executions, or paused where they have a delay; one whose submit key its client has used is left out.
INSERT INTO executions (id, client_id, submit_key, submit_hash, template, template_version, parameters, tier, quality,
                        optimise_for, urgency, position, estimate, budget, reply_to, correlation_id, traceparent,
                        status, pause_reason)
SELECT id, client_id, submit_key, submit_hash, template, template_version, parameters, tier, quality,
       optimise_for, urgency, position, estimate, budget, reply_to, correlation_id, traceparent,
       CASE WHEN delay > 0 THEN 'paused' ELSE 'queued' END, CASE WHEN delay > 0 THEN 'delay' END
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::jsonb[], $8::text[],
            $9::text[], $10::text[], $11::smallint[], $12::integer[], $13::double precision[], $14::bigint[],
            $15::text[], $16::text[], $17::text[], $18::double precision[])
    AS new (id, client_id, submit_key, submit_hash, template, template_version, parameters, tier, quality,
            optimise_for, urgency, position, estimate, budget, reply_to, correlation_id, traceparent, delay)
ON CONFLICT (client_id, submit_key) DO NOTHING
RETURNING id

-- name: find_submitted
-- The executions that these submit keys of these clients stand for.
SELECT e.client_id, e.submit_key, e.submit_hash, e.id, e.template, e.template_version, e.tier, e.position
FROM unnest($1::text[], $2::text[]) AS named (client_id, submit_key)
JOIN executions e USING (client_id, submit_key)

-- name: owner_of
-- The client of an execution.
SELECT client_id FROM executions WHERE id = $1

-- name: upsert_client
-- Adds a client, or changes what is given of it and leaves the rest as it was.
INSERT INTO clients (id, name, tier, amqp_user, monthly_budget) VALUES ($1, coalesce($2, $1), $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET name = coalesce($2, clients.name), tier = excluded.tier,
    amqp_user = coalesce(excluded.amqp_user, clients.amqp_user),
    monthly_budget = coalesce(excluded.monthly_budget, clients.monthly_budget)

-- name: upsert_service_user
-- A broker user that may act for every client.
INSERT INTO users (id, name, role, amqp_user) VALUES ($1, $1, 'service', $1)
ON CONFLICT (id) DO UPDATE SET role = 'service', amqp_user = excluded.amqp_user
