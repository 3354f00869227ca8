-- name: load_template
-- One version of a template, or its newest active one where no version is named.
SELECT name, version, title, description, tiers, parameters, on_budget
FROM pipeline_templates
WHERE name = $1 AND (version = $2 OR ($2::integer IS NULL AND active))
ORDER BY version DESC
LIMIT 1

-- name: active_version
-- The newest active version of a template.
SELECT version FROM pipeline_templates WHERE name = $1 AND active ORDER BY version DESC LIMIT 1

-- name: load_template_steps
-- The steps of one version of a template in their order.
SELECT name, stage, depends_on, condition, inputs, parameters, retry, timeout, fallback, optional, fan_out, cost, deliver
FROM pipeline_steps
WHERE template = $1 AND version = $2
ORDER BY position

-- name: lock_template
-- Keeps others from adding versions of a template until the transaction ends. What is read must be read after it.
SELECT pg_advisory_xact_lock(hashtext('template ' || $1))

-- name: newest_version
-- The highest version of a template.
SELECT max(version)::integer AS version FROM pipeline_templates WHERE name = $1

-- name: insert_template
-- A new version of a template.
INSERT INTO pipeline_templates (name, version, title, description, tiers, parameters, on_budget)
VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: insert_template_step
-- A step of a new version of a template.
INSERT INTO pipeline_steps (template, version, position, name, stage, depends_on, condition, inputs, parameters, retry,
                            timeout, fallback, optional, fan_out, cost, deliver)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)

-- name: list_templates
-- Every version of every template with the number of its executions that are not over.
SELECT t.name, t.version, t.title, t.description, t.tiers, t.active, t.created_at,
       (SELECT count(*) FROM pipeline_steps s WHERE s.template = t.name AND s.version = t.version)::integer AS steps
FROM pipeline_templates t
ORDER BY t.name, t.version DESC

-- name: register_stage
-- What a stage takes and gives.
INSERT INTO worker_registry (stage, version, description, input_schema, output_schema, timeout, cost_profile)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (stage) DO UPDATE SET version = excluded.version, description = excluded.description,
    input_schema = excluded.input_schema, output_schema = excluded.output_schema, timeout = excluded.timeout,
    cost_profile = excluded.cost_profile, registered_at = now()

-- name: registered_stages
-- The names of all stages that were registered.
SELECT stage FROM worker_registry ORDER BY stage
