-- name: keep
-- What an execution leaves for later ones; kept again it takes the place of what it kept before.
INSERT INTO shared.memories (client, execution_id, subject, report, stories, sources)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (client, execution_id, subject)
DO UPDATE SET report = excluded.report, stories = excluded.stories, sources = excluded.sources

-- name: reports
-- The last $4 reports of a client on a subject, but for those of the execution $3.
SELECT report FROM shared.memories
WHERE client = $1 AND subject = $2 AND execution_id <> $3
ORDER BY kept_at DESC LIMIT $4

-- name: stories
-- The $5 stories that a client was told of last, of the last $3 days and $4 executions at most, as each stood last.
SELECT story
FROM (
    SELECT DISTINCT ON (story ->> 'id') story, recent.kept_at
    FROM (
        SELECT kept_at, stories FROM shared.memories
        WHERE client = $1 AND execution_id <> $2 AND kept_at > now() - make_interval(days => $3)
        ORDER BY kept_at DESC LIMIT $4
    ) AS recent
    CROSS JOIN LATERAL jsonb_array_elements(recent.stories) AS story
    ORDER BY story ->> 'id', recent.kept_at DESC
) AS told
ORDER BY kept_at DESC, story ->> 'id' LIMIT $5

-- name: sources
-- What the last $3 executions of a client got out of each source.
SELECT source ->> 'url' AS url, count(*)::integer AS runs,
       (count(*) FILTER (WHERE source ->> 'error' <> ''))::integer AS failures,
       sum((source ->> 'articles')::integer)::integer AS articles,
       sum((source ->> 'relevant')::integer)::integer AS relevant,
       sum((source ->> 'duplicates')::integer)::integer AS duplicates,
       sum((source ->> 'used')::integer)::integer AS used
FROM (
    SELECT sources FROM shared.memories
    WHERE client = $1 AND execution_id <> $2
    ORDER BY kept_at DESC LIMIT $3
) AS recent
CROSS JOIN LATERAL jsonb_array_elements(recent.sources) AS source
GROUP BY source ->> 'url'

-- name: forget
-- Removes what is older than $1 days.
DELETE FROM shared.memories WHERE kept_at < now() - make_interval(days => $1)
