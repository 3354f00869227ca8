-- name: insert_schedule
-- Adds a schedule unless its id is taken.
INSERT INTO schedules (id, client_id, template, template_version, parameters, quality, optimise_for, urgency, budget, cron,
                       timezone)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (id) DO NOTHING
RETURNING id

-- name: list_schedules
-- All schedules, or the one that is named, with the moment when each is due next.
SELECT s.id, s.client_id, s.template, s.template_version, s.parameters, s.quality, s.optimise_for, s.urgency, s.budget,
       s.cron, s.timezone, s.active, s.last_due, s.last_execution, s.last_problem, t.due_at AS next_due
FROM schedules s
LEFT JOIN timers t ON t.kind = 'schedule' AND t.subject = s.id
WHERE $1::text IS NULL OR s.id = $1
ORDER BY s.id

-- name: lock_schedule
-- One schedule, held until the transaction ends, and the time.
SELECT s.id, s.client_id, s.template, s.template_version, s.parameters, s.quality, s.optimise_for, s.urgency, s.budget,
       s.cron, s.timezone, s.active, s.last_due, s.last_execution, s.last_problem, NULL::timestamptz AS next_due,
       now() AS now
FROM schedules s
WHERE s.id = $1
FOR UPDATE

-- name: activate_schedule
-- Pauses or resumes a schedule.
UPDATE schedules SET active = $2 WHERE id = $1

-- name: delete_schedule
-- Forgets a schedule; its executions stay.
DELETE FROM schedules WHERE id = $1

-- name: note_schedule
-- What came of a schedule when it was due.
UPDATE schedules
SET last_due = $2, last_execution = coalesce($3, last_execution), last_problem = $4
WHERE id = $1
