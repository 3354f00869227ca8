-- name: look
-- What is remembered of a page, how many seconds it rests yet, and for how many somebody may be asking for it.
SELECT url, kind, address, moved_to, moved_seen, final_url, etag, last_modified, content_type, body, size, received,
       first_at, succeeded_at, renewed_at, listing, failures, failing_since, fault, error, now() AS now,
       greatest(extract(epoch FROM next_at - now()), 0)::double precision AS rest,
       greatest(extract(epoch FROM lease_until - now()), 0)::double precision AS claimed
FROM shared.pages WHERE url = $1

-- name: claim
-- Makes $3 the one who asks for a page for $4 seconds, unless somebody else is; the page as it is remembered.
INSERT INTO shared.pages AS p (url, kind, address, lease_by, lease_until)
VALUES ($1, $2, $1, $3, now() + make_interval(secs => $4))
ON CONFLICT (url) DO UPDATE SET kind = least(p.kind, excluded.kind), -- what was followed once is a feed
    lease_by = excluded.lease_by, lease_until = excluded.lease_until, used_at = now()
WHERE p.lease_until IS NULL OR p.lease_until < now()
RETURNING url, kind, address, moved_to, moved_seen, final_url, etag, last_modified, content_type, body, size, received,
          first_at, succeeded_at, renewed_at, listing, failures, failing_since, fault, error, now() AS now,
          greatest(extract(epoch FROM next_at - now()), 0)::double precision AS rest,
       greatest(extract(epoch FROM lease_until - now()), 0)::double precision AS claimed

-- name: release
-- Ends the claim of $2 on a page, of which nothing new is known.
UPDATE shared.pages SET lease_by = NULL, lease_until = NULL WHERE url = $1 AND lease_by = $2

-- name: count_use
-- Counts a use of a page without a request.
UPDATE shared.pages SET remembered = remembered + 1, bytes_saved = bytes_saved + received, used_at = now() WHERE url = $1

-- name: write_answer
-- Writes what came of a request that $2 made, unless its claim has lapsed and is another's, and ends the claim.
UPDATE shared.pages
SET address = $3, moved_to = $4, moved_seen = $5, final_url = $6, etag = $7, last_modified = $8, content_type = $9,
    size = $10, received = $11, next_at = now() + make_interval(secs => $12),
    state_since = CASE WHEN state = $13 THEN state_since ELSE now() END, state = $13,
    succeeded_at = $14, renewed_at = $15, failures = $16, failing_since = $17, fault = $18, error = $19, listing = $20,
    unchanged = unchanged + $21::integer, bytes_received = bytes_received + $22, bytes_saved = bytes_saved + $23,
    requests = requests + 1, asked_at = now(), used_at = now(), lease_by = NULL, lease_until = NULL
WHERE url = $1 AND lease_by = $2
RETURNING url

-- name: write_body
-- Replaces the body of a page by a packed one, or by none.
UPDATE shared.pages SET body = $2 WHERE url = $1

-- name: drop_bodies
-- Forgets the bodies of feeds that nobody has used for $1 seconds, with the validators that stand for them.
UPDATE shared.pages SET body = NULL, etag = '', last_modified = ''
WHERE url IN (SELECT url FROM shared.pages
              WHERE used_at < now() - make_interval(secs => $1) AND kind = 'feed' AND body IS NOT NULL
              ORDER BY used_at LIMIT $2)

-- name: drop_pages
-- Forgets pages that nobody has used for $1 seconds, and feeds that nobody has used for $2.
DELETE FROM shared.pages
WHERE url IN (SELECT url FROM shared.pages
              WHERE used_at < now() - make_interval(secs => $1)
                  AND (kind = 'page' OR used_at < now() - make_interval(secs => $2))
              ORDER BY used_at LIMIT $3)
