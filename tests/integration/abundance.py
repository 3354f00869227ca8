"""A database in which much has happened, much runs and much waits."""

from contracts import templates
from infra import database
from infra import templates as stored_templates
from tests import filling

CLIENTS = 50
OLD = 40_000
QUEUED = 40_000
RUNNING = 300
OTHERS = 10_000
"""Rows of every further table."""

STEPS = [{"name": "a", "stage": "work"}, {"name": "b", "stage": "work", "depends_on": ["a"]}]
SHARDS = 2_000
INSTANCE_ROWS = 100

LIVE = """
UPDATE step_executions s
SET status = CASE WHEN e.rank % 3 = 0 THEN 'running' ELSE 'dispatched' END, attempt = 2,
    worker = CASE WHEN e.rank % 3 = 2 THEN NULL ELSE 'worker-1' END,
    published_at = CASE WHEN e.rank % 3 = 2 AND e.rank % 2 = 0 THEN NULL ELSE e.started_at END,
    dispatched_at = e.started_at, started_at = CASE WHEN e.rank % 3 = 0 THEN e.started_at END
FROM executions e
WHERE e.id = s.execution_id AND e.status = 'running' AND s.step = 'a'
"""
OWED = """
INSERT INTO outbox (exchange, routing_key, message_type, body, mandatory, execution_id, created_at)
SELECT 'factory.notifications', 'n', 'ExecutionFinished', '{}', false, gen_random_uuid(), now() - interval '1 hour'
FROM generate_series(1, $1::integer)
"""
TIMERS = """
INSERT INTO timers (kind, subject, due_at, execution_id)
SELECT 'deadline', e.id::text, now() + interval '1 hour', e.id
FROM executions e WHERE e.status IN ('queued', 'completed') LIMIT 4 * $1
"""
FACTS = """
INSERT INTO timeline (execution_id, kind, step, shard, attempt, detail)
SELECT id, 'retry', 'a', 0, 1, '{"reason": "transient"}' FROM executions WHERE status = 'completed' LIMIT $1
"""
DELIVERABLES = """
INSERT INTO deliverables (execution_id, step, format, epoch, ref)
SELECT id, 'b', 'json', 1, jsonb_build_object('uri', 's3://documents/d', 'sha256', submit_hash, 'size', 5000)
FROM executions WHERE status = 'completed' LIMIT $1
"""
LETTERS = """
INSERT INTO dead_letters (kind, fingerprint, reason, explanation, client_id, execution_id, stage, step, shard, epoch,
                          attempt, status, resolved_at)
SELECT 'step', e.id::text, 'failed', 'it failed', e.client_id, e.id, 'work', 'a', 0, 1, 1,
       CASE WHEN e.rank % 7 = 0 THEN 'open' ELSE 'discarded' END,
       CASE WHEN e.rank % 7 > 0 THEN e.created_at END
FROM executions e WHERE e.status = 'completed' ORDER BY e.created_at DESC LIMIT $1
"""
ENTRIES = """
INSERT INTO shared.budget_ledger (at, kind, reservation_id, client_id, month, execution_id, step, shard, epoch, attempt,
                                  purpose, amount, reserved, spent)
SELECT e.created_at, 'post', gen_random_uuid(), e.client_id, e.created_at::date, e.id, 'a', 0, 1, 1, 'a call', 100,
       -100, 100
FROM executions e WHERE e.status = 'completed' ORDER BY e.created_at LIMIT $1
"""
INSTANCES = """
INSERT INTO worker_instances (id, stages, capacity, in_flight, sequence, stopped, last_seen)
SELECT 'instance-' || n, '{work}', 8, 0, 1, n > 3, now() - make_interval(mins => n)
FROM generate_series(1, $1::integer) AS n
"""
SHARD_ROWS = """
INSERT INTO step_executions (execution_id, step, shard, epoch, status, stage)
SELECT $1::uuid, 'b', n, 1, CASE WHEN n <= $2 / 2 THEN 'completed' ELSE 'pending' END, 'work'
FROM generate_series(1, $2::integer) AS n
"""


async def fill(connection: database.Connection) -> None:
    """Stores all of it."""
    await connection.execute("SET synchronous_commit = off")
    await stored_templates.apply(connection, templates.parse({"name": "plain", "steps": STEPS}))
    await filling.clients(connection, CLIENTS)
    await filling.executions(connection, "plain", "completed", OLD, days=(200, 0.1))
    await filling.steps(connection, "completed", "completed")
    await filling.executions(connection, "plain", "queued", QUEUED)
    await filling.executions(connection, "plain", "paused", RUNNING, days=(200, 0))
    await filling.executions(connection, "plain", "cancelled", 2 * RUNNING)
    await filling.executions(connection, "plain", "running", RUNNING, days=(0.1, 0.05))
    await filling.steps(connection, "running", "pending")
    await connection.execute(LIVE)
    for statement in (OWED, TIMERS, FACTS, DELIVERABLES, LETTERS, ENTRIES):
        await connection.execute(statement, OTHERS)
    await connection.execute(INSTANCES, INSTANCE_ROWS)
    wide = await connection.fetchval("SELECT id FROM executions WHERE status = 'running' LIMIT 1")
    await connection.execute(SHARD_ROWS, wide, SHARDS)
    await connection.execute("ANALYZE")
