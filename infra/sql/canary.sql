-- name: write_canary
-- Writes what batches may write, in every table and column that a broken migration could spoil, to learn whether the
-- database takes it at all. The caller takes it back.
WITH client AS (
    INSERT INTO clients (id, name, tier) VALUES ($1::text, $1::text, 'basic')
), template AS (
    INSERT INTO pipeline_templates (name, version) VALUES ($1::text, 1)
), execution AS (
    INSERT INTO executions (id, client_id, submit_key, submit_hash, template, template_version, parameters, tier, quality,
                            optimise_for, urgency, position, estimate)
    VALUES ($2::uuid, $1::text, $1::text, '', $1::text, 1, '{}', 'basic', 'standard', 'balance', 5, 0, 1)
), step AS (
    INSERT INTO step_executions (execution_id, step, epoch, status, stage)
    VALUES ($2::uuid, 'canary', 1, 'pending', 'canary')
), timer AS (
    INSERT INTO timers (kind, subject, due_at, execution_id) VALUES ('delay', $1::text, 'infinity', $2::uuid)
), fact AS (
    INSERT INTO timeline (execution_id, kind) VALUES ($2::uuid, 'canary')
), deliverable AS (
    INSERT INTO deliverables (execution_id, step, format, epoch, ref) VALUES ($2::uuid, 'canary', 'canary', 1, '{}')
), letter AS (
    INSERT INTO dead_letters (kind, fingerprint, reason, explanation) VALUES ('message', $1::text, 'canary', '')
), owed AS (
    INSERT INTO outbox (exchange, routing_key, message_type, body, mandatory) VALUES ('', '', 'canary', '', false)
)
INSERT INTO shares (flow, finish) VALUES ($1::text, 0)
