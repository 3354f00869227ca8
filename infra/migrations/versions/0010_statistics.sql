-- Figures over what happened: views that show no parameters, keys, documents or words of others, and who may read them.

-- Each view is read by a window of time, and these find it however much lies before.
CREATE INDEX executions_finished ON executions (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX step_executions_finished ON step_executions (finished_at) WHERE finished_at IS NOT NULL;
-- Both grow in the order of time, but BRIN would not do: it reads ranges whole that no vacuum has summed up yet, which are
-- those of the last hours, for which people ask.
CREATE INDEX timeline_at ON timeline (at);
CREATE INDEX budget_ledger_at ON shared.budget_ledger (at);

CREATE SCHEMA reporting;

CREATE VIEW reporting.executions AS
SELECT id, client_id AS client, tier, template, template_version, status, pause_reason, urgency, created_at, started_at,
       finished_at,
       extract(epoch FROM coalesce(started_at, finished_at, now()) - created_at)::double precision AS queued_seconds,
       extract(epoch FROM coalesce(finished_at, now()) - created_at)::double precision AS seconds
FROM executions;
COMMENT ON VIEW reporting.executions IS 'one row for each execution; seconds run from its submission to its end, or to now';

-- A worker's own clock tells how long it worked. A short task is accepted and completed in one event, so that its start
-- is known from its end alone.
CREATE VIEW reporting.steps AS
SELECT s.execution_id, e.client_id AS client, e.tier, e.template, s.step, s.shard, s.shards IS NOT NULL AS fanned_out,
       s.stage, s.status, s.attempt, s.retries, s.error_class, s.worker, s.dispatched_at, s.finished_at,
       extract(epoch FROM s.finished_at - s.dispatched_at)::double precision - worked.seconds AS waited_seconds,
       worked.seconds AS run_seconds
FROM step_executions s
JOIN executions e ON e.id = s.execution_id
CROSS JOIN LATERAL (
    SELECT CASE WHEN s.shards IS NULL AND s.status IN ('completed', 'failed') THEN
        least(greatest(coalesce((s.metrics ->> 'seconds')::double precision,
                                extract(epoch FROM s.finished_at - s.started_at)::double precision), 0),
              extract(epoch FROM s.finished_at - s.dispatched_at)::double precision)
    END AS seconds
) AS worked;
COMMENT ON VIEW reporting.steps IS
    'one row for each step, which may be fanned out, and each shard (1 and up); both seconds are of the last attempt';

CREATE VIEW reporting.retries AS
SELECT t.at, t.execution_id, e.client_id AS client, e.tier, e.template, t.step, coalesce(t.shard, 0) AS shard,
       coalesce(t.detail ->> 'stage', s.stage) AS stage, t.attempt, t.kind, t.detail ->> 'error_class' AS error_class, t.detail ->> 'worker' AS worker
FROM timeline t
JOIN executions e ON e.id = t.execution_id
LEFT JOIN step_executions s
    ON s.execution_id = t.execution_id AND s.step = t.step AND s.shard = coalesce(t.shard, 0)
WHERE t.kind IN ('retry', 'outage', 'fallback', 'lease_lapsed', 'task_lost', 'task_died', 'input_gone', 'over_budget');
COMMENT ON VIEW reporting.retries IS
    'attempts that were followed by another, with the stage that made them; facts of version 0009 and before do not name '
    'it, so that theirs is the stage that has the step now';

CREATE VIEW reporting.costs AS
SELECT l.at, (l.at AT TIME ZONE 'UTC')::date AS day, l.client_id AS client,
       coalesce(e.tier, c.tier) AS tier, e.template, l.execution_id, l.step, l.shard, l.attempt, s.stage,
       l.purpose, l.kind, l.spent, l.spent / 1000000.0 AS dollars, l.expired
FROM shared.budget_ledger l
LEFT JOIN clients c ON c.id = l.client_id
LEFT JOIN executions e ON e.id = l.execution_id
LEFT JOIN step_executions s ON s.execution_id = l.execution_id AND s.step = l.step AND s.shard = l.shard
WHERE l.kind IN ('post', 'overrun');
COMMENT ON VIEW reporting.costs IS
    'what paid calls cost, spent in millionths of a US dollar; a call is one post and, where it cost more, one overrun';
COMMENT ON COLUMN reporting.costs.tier IS
    'that of the execution; once it was removed for its age, the one that the client has now';
COMMENT ON COLUMN reporting.costs.stage IS 'the one that has the step now, also for what a stage before a fallback paid';
COMMENT ON COLUMN reporting.costs.template IS 'null, like the stage, once the execution was removed for its age';

CREATE VIEW reporting.budgets AS
SELECT m.month, c.id AS client, c.tier, c.monthly_budget / 1000000.0 AS budget, m.reserved / 1000000.0 AS reserved,
       m.spent / 1000000.0 AS spent, m.overrun / 1000000.0 AS overrun
FROM shared.budget_months m
JOIN clients c ON c.id = m.client_id;
COMMENT ON VIEW reporting.budgets IS 'each client''s months in US dollars, beside the budget that it has now';

CREATE VIEW reporting.workers AS
SELECT id, stages, capacity, in_flight, stopped, started_at, last_seen,
       extract(epoch FROM now() - last_seen)::double precision AS silent_seconds
FROM worker_instances;
COMMENT ON VIEW reporting.workers IS 'worker processes of the last day';

CREATE VIEW reporting.dead_letters AS
SELECT id, kind, reason, error_class, client_id AS client, tier, template, stage, step, execution_id, status, created_at,
       resolved_at
FROM dead_letters;
COMMENT ON VIEW reporting.dead_letters IS 'dead letters without what they hold';

-- The reader has this schema and nothing else. Where the owner of the database may make no roles and nobody has made this
-- one, it is left out; docs/operating.md says how to add it.
DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'factory_reader') THEN
        CREATE ROLE factory_reader NOLOGIN;
    END IF;
    GRANT USAGE ON SCHEMA reporting TO factory_reader;
    GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO factory_reader;
    ALTER DEFAULT PRIVILEGES IN SCHEMA reporting GRANT SELECT ON TABLES TO factory_reader;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'there is no role factory_reader, and % may not make one', current_user;
END $$;
