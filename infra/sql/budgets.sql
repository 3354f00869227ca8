-- name: reserve
-- Reserves $9 for one paid call of an attempt, as the reservation $1, for $10 seconds.
SELECT outcome, available
FROM shared.budget_reserve($1::uuid, $2::text, $3::uuid, $4::integer, $5::text, $6::integer, $7::integer, $8::text,
                           $9::bigint, $10::double precision)

-- name: post
-- What a reserved call cost.
SELECT shared.budget_post($1::uuid, $2::bigint) AS outcome

-- name: void
-- A reserved call was not made.
SELECT shared.budget_void($1::uuid) AS outcome

-- name: left_open
-- Reservations whose run is over or whose time is up, so that nobody will say what became of them.
SELECT o.reservation_id, o.execution_id, o.step, o.amount
FROM shared.budget_open o
LEFT JOIN step_executions s USING (execution_id, step, shard)
WHERE o.expires_at < now() OR s.epoch IS DISTINCT FROM o.epoch OR s.attempt IS DISTINCT FROM o.attempt
    OR s.status NOT IN ('dispatched', 'running')
LIMIT $1

-- name: expire
-- Counts an open reservation as spent in full.
SELECT shared.budget_expire($1::uuid) AS expired

-- name: execution_account
-- The money of an execution.
SELECT e.id, e.client_id AS client, e.status, e.pause_reason, e.budget, coalesce(x.reserved, 0)::bigint AS reserved,
       coalesce(x.spent, 0)::bigint AS spent, coalesce(x.overrun, 0)::bigint AS overrun
FROM executions e
LEFT JOIN shared.budget_executions x ON x.execution_id = e.id
WHERE e.id = $1

-- name: client_account
-- The money of a client in the present month.
SELECT c.id AS client, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM') AS month, c.monthly_budget AS budget,
       coalesce(m.reserved, 0)::bigint AS reserved, coalesce(m.spent, 0)::bigint AS spent,
       coalesce(m.overrun, 0)::bigint AS overrun
FROM clients c
LEFT JOIN shared.budget_months m
    ON m.client_id = c.id AND m.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
WHERE c.id = $1

-- name: client_months
-- The last months in which a client had paid calls, the newest first.
SELECT to_char(month, 'YYYY-MM') AS month, reserved, spent, overrun
FROM shared.budget_months
WHERE client_id = $1
ORDER BY shared.budget_months.month DESC
LIMIT $2

-- name: entries
-- The last entries of the ledger about an execution, the oldest first.
SELECT at, kind, reservation_id, step, shard, epoch, attempt, purpose, amount, reserved, spent, expired
FROM (SELECT * FROM shared.budget_ledger WHERE execution_id = $1 ORDER BY id DESC LIMIT $2) AS last
ORDER BY id

-- name: set_client_budget
-- What a client may spend in a month; null is no limit.
UPDATE clients SET monthly_budget = $2 WHERE id = $1 RETURNING id

-- name: set_execution_budget
-- What an execution may spend, null is no limit, with a fact that says who changed it.
WITH old AS (
    SELECT id, budget FROM executions WHERE id = $1 FOR UPDATE
), changed AS (
    UPDATE executions e SET budget = $2::bigint FROM old WHERE e.id = old.id RETURNING e.id, old.budget AS before
)
INSERT INTO timeline (execution_id, kind, actor, detail)
SELECT id, 'budget_set', $3, jsonb_build_object('from', before, 'to', $2::bigint) FROM changed
RETURNING execution_id
