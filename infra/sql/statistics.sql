-- name: executions
-- What became of the executions that ended in the last $1 seconds, by template, and of all of them in a row without one;
-- $2, $3 and $4 are client, template and tier, null for any. Durations are of those that came to a result. The window is
-- read first: under grouping sets the planner does not see that the index fits.
WITH ended AS MATERIALIZED (
    SELECT template, status, seconds, started_at, queued_seconds
    FROM reporting.executions
    WHERE finished_at > now() - make_interval(secs => $1) AND finished_at <= now()
        AND ($2::text IS NULL OR client = $2) AND ($3::text IS NULL OR template = $3) AND ($4::text IS NULL OR tier = $4)
)
SELECT template, count(*)::integer AS finished, count(*) FILTER (WHERE status = 'completed')::integer AS completed,
       count(*) FILTER (WHERE status = 'partial')::integer AS partial,
       count(*) FILTER (WHERE status = 'failed')::integer AS failed,
       count(*) FILTER (WHERE status = 'cancelled')::integer AS cancelled,
       count(*) FILTER (WHERE status IN ('completed', 'partial'))::double precision
           / nullif(count(*) FILTER (WHERE status <> 'cancelled'), 0) AS success_rate,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE status IN ('completed', 'partial')) AS p50,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE status IN ('completed', 'partial')) AS p95,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY queued_seconds) FILTER (WHERE started_at IS NOT NULL) AS queued_p50,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY queued_seconds) FILTER (WHERE started_at IS NOT NULL) AS queued_p95
FROM ended
GROUP BY GROUPING SETS ((template), ())
HAVING count(*) > 0
ORDER BY grouping(template), template

-- name: stages
-- The attempts that ended in the last $1 seconds, by stage and tier; $2, $3, $4 and $5 are client, template, tier and
-- stage, null for any. What was lost with its worker or its queue has no class of its own and counts by what happened.
WITH attempts AS (
    SELECT stage, tier, status, CASE WHEN status = 'failed' THEN coalesce(error_class, 'unknown') END AS class,
           waited_seconds AS waited, run_seconds AS run
    FROM reporting.steps
    WHERE finished_at > now() - make_interval(secs => $1) AND finished_at <= now()
        AND NOT fanned_out AND status IN ('completed', 'failed')
        AND ($2::text IS NULL OR client = $2) AND ($3::text IS NULL OR template = $3)
        AND ($4::text IS NULL OR tier = $4) AND ($5::text IS NULL OR stage = $5)
    UNION ALL
    SELECT stage, tier, 'repeated', coalesce(error_class, kind), NULL, NULL
    FROM reporting.retries
    WHERE at > now() - make_interval(secs => $1) AND at <= now() AND stage IS NOT NULL
        AND ($2::text IS NULL OR client = $2) AND ($3::text IS NULL OR template = $3)
        AND ($4::text IS NULL OR tier = $4) AND ($5::text IS NULL OR stage = $5)
), classes AS (
    SELECT stage, tier, jsonb_object_agg(class, number) AS failures
    FROM (SELECT stage, tier, class, count(*) AS number FROM attempts WHERE class IS NOT NULL GROUP BY 1, 2, 3) AS counted
    GROUP BY stage, tier
)
SELECT stage, tier, count(*)::integer AS attempts, count(*) FILTER (WHERE status = 'completed')::integer AS completed,
       count(*) FILTER (WHERE status = 'failed')::integer AS failed,
       count(*) FILTER (WHERE status = 'repeated')::integer AS retries,
       count(class)::double precision / count(*) AS failure_rate, coalesce(min(failures::text), '{}')::jsonb AS failures,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY run) FILTER (WHERE status = 'completed') AS run_p50,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY run) FILTER (WHERE status = 'completed') AS run_p95,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY waited) AS waited_p50,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY waited) AS waited_p95
FROM attempts
LEFT JOIN classes USING (stage, tier)
GROUP BY stage, tier
ORDER BY stage, array_position('{enterprise,premium,standard,basic}'::text[], tier)

-- name: costs
-- What paid calls of the last $1 seconds cost, by day (UTC) and client, and by stage or purpose where $5 says so; $2, $3
-- and $4 are client, template and tier, null for any. The first $6 rows.
SELECT to_char(day, 'YYYY-MM-DD') AS day, client, CASE WHEN $5::text = 'stage' THEN stage END AS stage,
       CASE WHEN $5 = 'purpose' THEN purpose END AS purpose, count(*) FILTER (WHERE kind = 'post')::integer AS calls,
       sum(spent)::bigint AS spent, coalesce(sum(spent) FILTER (WHERE kind = 'overrun'), 0)::bigint AS overrun
FROM reporting.costs
WHERE at > now() - make_interval(secs => $1) AND at <= now()
    AND ($2::text IS NULL OR client = $2) AND ($3::text IS NULL OR template = $3) AND ($4::text IS NULL OR tier = $4)
GROUP BY 1, 2, 3, 4
ORDER BY 1 DESC, 6 DESC, 2, 3, 4
LIMIT $6

-- name: workers
-- Worker processes that were heard of or ended an attempt in the last $1 seconds, those of stage $2, null for any: what
-- they came to, and how often the factory gave up waiting for them. Those that were heard of within $4 seconds come first,
-- the newest of them at the top; of forgotten ones no start is known.
WITH done AS (
    SELECT worker, count(*) FILTER (WHERE status = 'completed')::integer AS completed,
           count(*) FILTER (WHERE status = 'failed')::integer AS failed, array_agg(DISTINCT stage) AS stages
    FROM reporting.steps
    WHERE finished_at > now() - make_interval(secs => $1) AND finished_at <= now()
        AND NOT fanned_out AND status IN ('completed', 'failed') AND worker IS NOT NULL
    GROUP BY worker
), repeated AS (
    SELECT worker, count(*) FILTER (WHERE kind = 'lease_lapsed')::integer AS lost,
           count(*) FILTER (WHERE kind <> 'lease_lapsed')::integer AS failed, array_agg(DISTINCT stage) AS stages
    FROM reporting.retries
    WHERE at > now() - make_interval(secs => $1) AND at <= now() AND worker IS NOT NULL
    GROUP BY worker
)
SELECT id, stages, capacity, in_flight, silent, stopped, started_at, completed, failed, lost,
       failed::double precision / nullif(completed + failed, 0) AS failure_rate
FROM (
    SELECT worker AS id, coalesce(w.stages, d.stages, r.stages) AS stages, w.capacity, w.in_flight,
           w.silent_seconds AS silent, w.stopped, w.started_at, coalesce(d.completed, 0) AS completed,
           coalesce(d.failed, 0) + coalesce(r.failed, 0) AS failed, coalesce(r.lost, 0) AS lost
    FROM (SELECT id AS worker, * FROM reporting.workers) AS w
    FULL JOIN done d USING (worker)
    FULL JOIN repeated r USING (worker)
    WHERE w.last_seen > now() - make_interval(secs => $1) OR d.worker IS NOT NULL OR r.worker IS NOT NULL
) AS known
WHERE $2::text IS NULL OR $2 = ANY (stages)
ORDER BY coalesce(stopped OR silent > $4, true), started_at DESC NULLS LAST, id
LIMIT $3
