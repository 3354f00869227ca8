-- name: listing
-- Feeds by state ($1, null for all), those that do worst first, up to $2.
SELECT url, address, state, state_since, first_at, asked_at, succeeded_at, renewed_at, next_at, failures, fault, error,
       moved_to, requests, unchanged, remembered, bytes_received, bytes_saved
FROM shared.pages
WHERE kind = 'feed' AND ($1::text IS NULL OR state = $1)
ORDER BY array_position(ARRAY['gone', 'degraded', 'dormant', 'healthy'], state), failures DESC, url
LIMIT $2

-- name: find
-- One feed by its address, or by the one that it has moved to.
SELECT url, address, state, state_since, first_at, asked_at, succeeded_at, renewed_at, next_at, failures, fault, error,
       moved_to, requests, unchanged, remembered, bytes_received, bytes_saved
FROM shared.pages
WHERE kind = 'feed' AND (url = $1 OR address = $1)
ORDER BY url <> $1
LIMIT 1

-- name: forget
-- Lets a feed be asked for at once, at its own address, as if it had never failed.
UPDATE shared.pages
SET next_at = now(), failures = 0, failing_since = NULL, fault = '', error = '', address = url, moved_to = '',
    moved_seen = 0, state_since = CASE WHEN state IN ('degraded', 'gone') THEN now() ELSE state_since END,
    state = CASE WHEN state IN ('degraded', 'gone') THEN 'healthy' ELSE state END
WHERE url = $1 AND kind = 'feed'
RETURNING url

-- name: count_states
-- Feeds by the state that they were found in last.
SELECT state, count(*)::integer AS feeds FROM shared.pages WHERE kind = 'feed' GROUP BY state
