-- name: read_cache
-- A cached value that is not stale.
SELECT value FROM shared.cache WHERE scope = $1 AND key = $2 AND expires_at > now()

-- name: write_cache
-- Caches a value for $4 seconds.
INSERT INTO shared.cache (scope, key, value, expires_at) VALUES ($1, $2, $3, now() + make_interval(secs => $4))
ON CONFLICT (scope, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at

-- name: drop_stale
-- Removes stale values.
DELETE FROM shared.cache WHERE expires_at < now()
