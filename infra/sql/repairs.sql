-- name: count_repair
-- So many repairs of a kind were made, the last one of this.
INSERT INTO repairs (kind, number, detail) VALUES ($1, $2, $3)
ON CONFLICT (kind) DO UPDATE SET number = repairs.number + excluded.number, last_at = now(), detail = excluded.detail

-- name: list_repairs
-- How many repairs of each kind were made.
SELECT kind, number, last_at, detail FROM repairs ORDER BY kind
