-- name: lock_admission
-- One admission at a time, whichever coordinator runs it; the lock covers the counting of slots.
SELECT pg_advisory_xact_lock($1)

-- name: running
-- Slots in use, counted from the rows that use them.
SELECT client_id, count(*)::integer AS running FROM executions WHERE status = 'running' GROUP BY client_id

-- name: heads
-- The first queued executions of every client that has some, at most $1 of each; a flood behind them is never read.
WITH RECURSIVE waiting (client_id) AS (
    (SELECT client_id FROM executions WHERE status = 'queued' ORDER BY client_id LIMIT 1)
    UNION ALL
    SELECT (SELECT e.client_id FROM executions e WHERE e.status = 'queued' AND e.client_id > w.client_id
            ORDER BY e.client_id LIMIT 1)
    FROM waiting w WHERE w.client_id IS NOT NULL
)
SELECT h.id, h.client_id, h.tier, h.estimate, h.template, h.template_version
FROM waiting w
CROSS JOIN LATERAL (
    SELECT e.id, e.client_id, e.tier, e.estimate, e.template, e.template_version, e.urgency, e.rank
    FROM executions e
    WHERE e.client_id = w.client_id AND e.status = 'queued'
    ORDER BY e.urgency DESC, e.rank
    LIMIT $1
) AS h
WHERE w.client_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM pauses p WHERE p.kind = 'client' AND p.name = w.client_id)
ORDER BY h.client_id, h.urgency DESC, h.rank

-- name: load_shares
-- The virtual times of these flows.
SELECT flow, finish, virtual_time FROM shares WHERE flow = ANY($1::text[])

-- name: save_shares
-- The virtual times of these flows.
INSERT INTO shares (flow, finish, virtual_time)
SELECT * FROM unnest($1::text[], $2::double precision[], $3::double precision[])
ON CONFLICT (flow) DO UPDATE SET finish = excluded.finish, virtual_time = excluded.virtual_time
