"""What happened in a small factory, written into its tables so that every figure about it can be checked by hand."""

import uuid

from contracts import templates
from contracts.tiers import Tier
from infra import jobs
from infra import templates as stored_templates
from tests.factories import Factory

STEPS = [
    {"name": "a", "stage": "work"},
    {"name": "b", "stage": "other", "depends_on": ["a"], "fan_out": {"over": ["a"], "field": "record"}},
]
HOUR = 3600.0

EXECUTION = """
INSERT INTO executions (id, client_id, submit_key, submit_hash, template, template_version, parameters, tier, quality,
                        optimise_for, urgency, position, estimate, status, created_at, started_at, finished_at)
SELECT $1::uuid, $2, $1::uuid::text, 'secret-hash', $3, 1,
       '{"token": "secret-parameter"}', $4, 'standard', 'balance', 5,
       0, 1, $5::text, ended.at - make_interval(secs => $7), ended.at - make_interval(secs => $7 - $8),
       CASE WHEN $5 NOT IN ('queued', 'running', 'paused') THEN ended.at END
FROM (SELECT now() - make_interval(secs => $6) AS at) AS ended
"""
STEP = """
INSERT INTO step_executions (execution_id, step, shard, epoch, attempt, status, stage, shards, worker, metrics,
                             error_class, error, output, dispatched_at, published_at, started_at, finished_at)
SELECT $1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $10, 'secret-error', NULL, ended.at - make_interval(secs => $12),
       ended.at - make_interval(secs => $12), ended.at, ended.at
FROM (SELECT now() - make_interval(secs => $11) AS at) AS ended
"""
FACT = """
INSERT INTO timeline (at, execution_id, kind, step, shard, attempt, detail)
VALUES (now() - make_interval(secs => $1), $2, $3, $4, 0, 1, $5)
"""
ENTRY = """
INSERT INTO shared.budget_ledger (at, kind, reservation_id, client_id, month, execution_id, step, shard, epoch, attempt,
                                  purpose, amount, reserved, spent)
VALUES ($1::timestamptz, $2, $3, $4, '2026-01-01', $5, 'a', 0, 1, 1, $6, 10, 0, $7)
"""


async def prepare(tables: Factory, *clients: tuple[str, Tier]) -> None:
    """Clients, and two templates of the same steps."""
    async with tables.pool.acquire() as connection:
        for client, tier in clients:
            await jobs.save_client(connection, client, client.title(), tier, None)
        for name in ("daily", "weekly"):
            await stored_templates.apply(connection, templates.parse({"name": name, "steps": STEPS}))


async def execution(
    tables: Factory, template: str = "daily", client: str = "acme", tier: Tier = Tier.BASIC, status: str = "completed",
    *, ago: float = 60.0, seconds: float = 10.0, queued: float = 1.0,
) -> uuid.UUID:  # fmt: skip
    """An execution that ended so many seconds ago, took so long from its submission, and waited so long at first."""
    made = uuid.uuid4()
    await tables.pool.execute(EXECUTION, made, client, template, tier, status, ago, seconds, queued)
    return made


async def step(
    tables: Factory, execution_id: uuid.UUID, name: str = "a", *, shard: int = 0, attempt: int = 1,
    status: str = "completed", stage: str = "work", shards: int | None = None, worker: str | None = "worker-1",
    run: float = 1.0, waited: float = 0.5, error_class: str | None = None, ago: float = 60.0,
) -> None:  # fmt: skip
    """A step or a shard as the coordinator leaves a short one: its start is told by its worker alone."""
    metrics = None if shards is not None else {"seconds": run}
    named = (execution_id, name, shard, attempt, status, stage, shards, worker, metrics, error_class)
    await tables.pool.execute(STEP, *named, ago, run + waited)


async def fact(
    tables: Factory, execution_id: uuid.UUID, kind: str, name: str = "a", ago: float = 60.0, **detail: str
) -> None:
    """An attempt that was followed by another."""
    await tables.pool.execute(FACT, ago, execution_id, kind, name, detail)


async def spend(
    tables: Factory, execution_id: uuid.UUID, at: str, spent: int, client: str = "acme", purpose: str = "summary",
    kind: str = "post",
) -> None:  # fmt: skip
    """A line of the ledger; ``at`` is a moment as Postgres reads it."""
    async with tables.pool.acquire() as connection:
        moment = await connection.fetchval(f"SELECT {at}")
        await connection.execute(ENTRY, moment, kind, uuid.uuid4(), client, execution_id, purpose, spent)
