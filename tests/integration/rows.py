"""Executions and rows as a test wants them in the database, and as they are there afterwards."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from consumers.coordinator.engine import tools
from consumers.coordinator.library import Library
from consumers.coordinator.transitions import State
from contracts import messages, templates
from contracts.executions import StepExecution
from contracts.refs import DataRef
from contracts.states import StepStatus
from contracts.tiers import Tier
from infra import database, executions, expressions, jobs
from infra import templates as stored_templates
from tests.factories import Factory

STEPS: Sequence[Mapping[str, Any]] = [
    {"name": "a", "stage": "work"},
    {"name": "b", "stage": "work", "depends_on": ["a"]},
]


def document(name: str = "d", **fields: Any) -> DataRef:
    return DataRef(uri=f"s3://documents/{name}", sha256="0" * 64, size=5000, **fields)


async def submit(
    tables: Factory,
    number: int = 1,
    client: str = "acme",
    tier: Tier = Tier.BASIC,
    steps: Sequence[Mapping[str, Any]] = STEPS,
    **fields: Any,
) -> list[uuid.UUID]:
    """Queues executions of a stored template."""
    async with tables.pool.acquire() as connection:
        await jobs.save_client(connection, client, client.title(), tier, None)
        await stored_templates.apply(connection, templates.parse({"name": "plain", "steps": steps}))
        new = []
        for _ in range(number):
            job = messages.SubmitJob(submit_key=uuid.uuid4().hex, client=client, template="plain", **fields)
            execution = jobs.NewExecution(
                id=uuid.uuid4(),
                job=job,
                submit_hash="hash",
                template_version=1,
                parameters={"topic": "bees", "list": [[1, 2], []]},
                tier=tier,
                position=0,
                estimate=1.0,
                reply_to="reply.acme",
                correlation_id="c1",
                traceparent=None,
            )
            new.append(execution)
        await jobs.insert(connection, new)
    return [execution.id for execution in new]


def row(execution_id: uuid.UUID, step: str = "a", shard: int = 0, **fields: Any) -> StepExecution:
    """A row as it is stored first."""
    values = {"epoch": 1, "attempt": 1, "status": StepStatus.PENDING, "stage": "work", **fields}
    return StepExecution(execution_id=execution_id, step=step, shard=shard, **values)


async def store(connection: database.Connection, *rows: StepExecution, published: bool = False) -> None:
    """Stores rows with everything that they say."""
    fresh = [row(r.execution_id, r.step, r.shard, epoch=r.epoch, attempt=r.attempt) for r in rows]
    await executions.insert_steps(connection, fresh)
    await executions.update_steps(connection, list(zip(fresh, rows, strict=True)))
    if published:
        await executions.mark_published(connection, [r.key for r in rows])


async def load(connection: database.Connection, *rows: StepExecution) -> list[StepExecution]:
    """The rows as they are stored now."""
    places = [(r.execution_id, r.step, r.shard) for r in rows]
    found = await executions.load_steps(connection, {r.execution_id for r in rows}, [p for p in places if p[2]])
    by_place = {(r.execution_id, r.step, r.shard): r._replace(dispatched_at=None) for r in found}
    return [by_place[place] for place in places]


def state(tables: Factory) -> State:
    return State(tables.pool, Library(), tools.Tools(evaluate=expressions.value, random=lambda: 0.5))


async def age(connection: database.Connection, seconds: float) -> None:
    """Lets everything that has happened have happened so many seconds ago."""
    for statement in (
        """UPDATE step_executions
           SET dispatched_at = dispatched_at - make_interval(secs => $1),
               published_at = published_at - make_interval(secs => $1),
               started_at = started_at - make_interval(secs => $1)""",
        "UPDATE worker_instances SET last_seen = last_seen - make_interval(secs => $1)",
        "UPDATE outbox SET created_at = created_at - make_interval(secs => $1)",
    ):
        await connection.execute(statement, seconds)
