"""Many executions at once, made by the database itself, for tests and measurements of what must not grow with them."""

from infra import database

SECONDS = 600.0
"""What a statement may take here; elsewhere it is half a minute."""

_CLIENTS = """
INSERT INTO clients (id, name, tier)
SELECT 'client-' || n, 'Client ' || n, (ARRAY['basic', 'standard', 'premium', 'enterprise'])[1 + n % 4]
FROM generate_series(0, $1::integer - 1) AS n
ON CONFLICT DO NOTHING
"""

_EXECUTIONS = """
INSERT INTO executions (id, client_id, submit_key, submit_hash, template, template_version, parameters, tier, quality,
                        optimise_for, urgency, position, estimate, status, pause_reason, created_at, started_at,
                        finished_at)
SELECT uuidv7(made.at - now()), c.id, md5(random()::text || n), encode(sha256(n::text::bytea), 'hex'), $1::text, 1,
       jsonb_build_object('topic', 'bees of ' || n, 'articles', n % 50), c.tier, 'standard', 'balance', n % 10, 1000, 5,
       $2::text, CASE WHEN $2 = 'paused' THEN 'operator' END, made.at,
       CASE WHEN $2 NOT IN ('queued', 'paused') THEN made.at END,
       CASE WHEN $2 IN ('completed', 'partial', 'failed', 'cancelled') THEN made.at END
FROM generate_series(1, $3::integer) AS n
JOIN clients c ON c.id = 'client-' || n % $4::integer
CROSS JOIN LATERAL (
    SELECT now() - make_interval(secs => 86400 * ($5::float8 + ($6::float8 - $5::float8) * n / $3))
) AS made (at)
"""

_STEPS = """
INSERT INTO step_executions (execution_id, step, shard, epoch, attempt, status, stage, output, summary, metrics, worker,
                             dispatched_at, published_at, started_at, finished_at)
SELECT e.id, p.name, 0, 1, 1, $2::text, p.stage,
       CASE WHEN $2 = 'completed' THEN jsonb_build_object(
           'uri', 'inline:', 'sha256', e.submit_hash, 'size', 40, 'content_type', 'application/json', 'schema', 'Done',
           'data', '{"at": 1234567.890123}') END,
       CASE WHEN $2 = 'completed' THEN '{"made": 3}'::jsonb END,
       CASE WHEN $2 = 'completed' THEN '{"seconds": 0.012}'::jsonb END,
       CASE WHEN $2 IN ('running', 'completed') THEN 'worker-1' END,
       CASE WHEN $2 <> 'pending' THEN e.started_at END, CASE WHEN $2 <> 'pending' THEN e.started_at END,
       CASE WHEN $2 IN ('running', 'completed') THEN e.started_at END,
       CASE WHEN $2 = 'completed' THEN e.finished_at END
FROM executions e
JOIN pipeline_steps p ON p.template = e.template AND p.version = e.template_version
WHERE e.status = $1::text
"""


async def clients(connection: database.Connection, number: int) -> None:
    """Clients ``client-0`` and so on, in turn of every tier."""
    await connection.execute(_CLIENTS, number)


async def executions(
    connection: database.Connection,
    template: str,
    status: str,
    number: int,
    *,
    of: int = 50,
    days: tuple[float, float] = (1.0, 0.0),
) -> None:
    """Executions of a stored template, of so many clients in turn, spread evenly between two ages in days."""
    await connection.execute(_EXECUTIONS, template, status, number, of, *days, timeout=SECONDS)


async def steps(connection: database.Connection, of: str, status: str) -> None:
    """The rows of every step of all executions that stand in status ``of``."""
    await connection.execute(_STEPS, of, status, timeout=SECONDS)
