-- name: insert_pause
-- Pauses a stage or a client; one that is paused keeps its record.
INSERT INTO pauses (kind, name, actor, note) VALUES ($1, $2, $3, $4) ON CONFLICT (kind, name) DO NOTHING

-- name: delete_pause
-- The stage or the client goes on.
DELETE FROM pauses WHERE kind = $1 AND name = $2

-- name: list_pauses
-- What is paused, by whom and why.
SELECT kind, name, actor, note, created_at FROM pauses ORDER BY kind, name

-- name: known_name
-- Whether there is a stage or a client of this name.
SELECT CASE $1 WHEN 'stage' THEN EXISTS (SELECT 1 FROM worker_registry WHERE stage = $2)
               ELSE EXISTS (SELECT 1 FROM clients WHERE id = $2) END AS known

-- name: to_hold
-- Running executions of paused clients.
SELECT e.id FROM executions e JOIN pauses p ON p.kind = 'client' AND p.name = e.client_id
WHERE e.status = 'running'
ORDER BY e.id
LIMIT $1

-- name: to_release
-- Executions that wait for a client who is paused no more.
SELECT e.id FROM executions e
WHERE e.status = 'paused' AND e.pause_reason = 'client'
    AND NOT EXISTS (SELECT 1 FROM pauses p WHERE p.kind = 'client' AND p.name = e.client_id)
ORDER BY e.id
LIMIT $1
