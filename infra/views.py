"""What people look at: executions, steps, workers and clients as they stand, read without a lock and never in full."""

import dataclasses
import datetime
from collections.abc import Mapping
from uuid import UUID

from contracts.messages import Json
from contracts.model import Scalar
from contracts.refs import DataRef
from contracts.states import ExecutionStatus, StepStatus
from contracts.tiers import Tier
from infra import database, statements

SQL = statements.load("views")

COUNT_LIMIT = 100_000
"""Counting stops here: more is 'many', and the query stays quick whatever the backlog."""

SHARD_LIMIT = 10_000
TIMELINE_LIMIT = 200
WORKER_LIMIT = 1_000
CLIENT_LIMIT = 1_000

SILENT_SECONDS = 30.0
"""A worker that was not heard of for longer is silent."""

_DONE = (StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED)


@dataclasses.dataclass(frozen=True, slots=True)
class Execution:
    """One execution; ``seconds`` run from its submission to its end, or to now."""

    id: UUID
    client: str
    tier: Tier
    template: str
    template_version: int
    status: ExecutionStatus
    urgency: int
    created_at: datetime.datetime
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    explanation: str
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """What the job of an execution asked for; the budget is in millionths of a US dollar."""

    submit_key: str
    parameters: Mapping[str, Json]
    quality: str
    optimise_for: str
    budget: int | None
    epoch: int


@dataclasses.dataclass(frozen=True, slots=True)
class Shards:
    """How far a fan-out is: ``done`` counts the shards that are over, the failed ones included."""

    total: int
    done: int
    failed: int
    running: int
    retries: int


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One step; ``seconds`` run from its start to its end, or to now, and are None before it starts."""

    step: str
    stage: str
    status: StepStatus
    depends_on: tuple[str, ...]
    fanned_out: bool
    attempt: int
    retries: int
    worker: str | None
    summary: Mapping[str, Scalar]
    error_class: str | None
    error: str | None
    fraction: float | None
    note: str | None
    output: DataRef | None
    files: Mapping[str, DataRef]
    seconds: float | None
    shards: Shards | None


@dataclasses.dataclass(frozen=True, slots=True)
class Shard:
    """One shard of a step and what it came to."""

    shard: int
    status: StepStatus
    attempt: int
    retries: int
    summary: Mapping[str, Scalar]
    output: DataRef | None
    error_class: str | None
    error: str | None
    error_details: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Deliverable:
    """A document that an execution hands to its client."""

    step: str
    format: str
    ref: DataRef
    created_at: datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
    """One line of an execution's timeline."""

    at: datetime.datetime
    kind: str
    step: str | None
    shard: int | None
    attempt: int | None
    actor: str
    detail: Mapping[str, Json]


@dataclasses.dataclass(frozen=True, slots=True)
class Worker:
    """A worker process that was heard of ``silent`` seconds ago."""

    id: str
    stages: tuple[str, ...]
    capacity: int
    in_flight: int
    started_at: datetime.datetime
    silent: float


@dataclasses.dataclass(frozen=True, slots=True)
class Client:
    """Who may submit; the budget is in millionths of a US dollar a month, None for no limit."""

    id: str
    name: str
    tier: Tier
    amqp_user: str | None
    monthly_budget: int | None
    active: bool


async def executions(
    connection: database.Connection, *, status: ExecutionStatus | None = None, client: str | None = None,
    template: str | None = None, age: float | None = None, limit: int = 20,
) -> list[Execution]:  # fmt: skip
    """The latest executions that fit, the newest first; ``age`` is in seconds."""
    wanted = None if status is None else status.value
    rows = await connection.fetch(SQL["list_executions"], wanted, client, template, age, limit)
    return [_execution(row) for row in rows]


async def execution(connection: database.Connection, execution_id: UUID) -> Execution | None:
    """One execution, None if there is none of this id."""
    row = await connection.fetchrow(SQL["find_execution"], execution_id)
    return None if row is None else _execution(row)


async def order(connection: database.Connection, execution_id: UUID) -> Order | None:
    """What the job of an execution asked for."""
    row = await connection.fetchrow(SQL["execution_parameters"], execution_id)
    return None if row is None else Order(**dict(row))


async def steps(connection: database.Connection, execution_id: UUID) -> list[Step]:
    """The steps of an execution in the order of its template, fan-outs with their counts."""
    rows = await connection.fetch(SQL["execution_steps"], execution_id)
    counts = await _shard_counts(connection, execution_id) if any(row["shards"] is not None for row in rows) else {}
    return [_step(row, counts.get(row["step"], [])) for row in rows]


async def shards(connection: database.Connection, execution_id: UUID, step: str) -> list[Shard]:
    """The first ten thousand shards of a step."""
    rows = await connection.fetch(SQL["shards"], execution_id, step, SHARD_LIMIT)
    return [
        Shard(
            shard=row["shard"],
            status=StepStatus(row["status"]),
            attempt=row["attempt"],
            retries=row["retries"],
            summary=row["summary"] or {},
            output=_reference(row["output"]),
            error_class=row["error_class"],
            error=row["error"],
            error_details=row["error_details"] or {},
        )
        for row in rows
    ]


async def deliverables(connection: database.Connection, execution_id: UUID) -> list[Deliverable]:
    """What an execution hands to its client, by step and format."""
    rows = await connection.fetch(SQL["deliverables"], execution_id)
    return [
        Deliverable(row["step"], row["format"], DataRef.model_validate(row["ref"]), row["created_at"]) for row in rows
    ]


async def timeline(connection: database.Connection, execution_id: UUID) -> list[Fact]:
    """The latest facts that step rows cannot tell, in the order in which they happened."""
    return [Fact(**dict(row)) for row in await connection.fetch(SQL["timeline"], execution_id, TIMELINE_LIMIT)]


async def counts(connection: database.Connection) -> dict[ExecutionStatus, int]:
    """How many executions wait and run, and what became of those of the last day; each up to a hundred thousand."""
    rows = await connection.fetch(SQL["count_executions"], COUNT_LIMIT)
    return {ExecutionStatus(row["status"]): row["executions"] for row in rows}


async def workers(connection: database.Connection, seconds: float) -> list[Worker]:
    """Worker processes that were heard of within so many seconds and do not leave."""
    rows = await connection.fetch(SQL["live_workers"], seconds, WORKER_LIMIT)
    return [Worker(**{**dict(row), "stages": tuple(row["stages"])}) for row in rows]


async def clients(connection: database.Connection) -> list[Client]:
    """Who may submit."""
    rows = await connection.fetch(SQL["clients"], CLIENT_LIMIT)
    return [Client(**{**dict(row), "tier": Tier(row["tier"])}) for row in rows]


def _execution(row: database.Row) -> Execution:
    return Execution(
        id=row["id"],
        client=row["client_id"],
        tier=Tier(row["tier"]),
        template=row["template"],
        template_version=row["template_version"],
        status=ExecutionStatus(row["status"]),
        urgency=row["urgency"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        explanation=row["explanation"],
        seconds=row["seconds"],
    )


async def _shard_counts(
    connection: database.Connection, execution_id: UUID
) -> dict[str, list[tuple[StepStatus, int, int]]]:
    found: dict[str, list[tuple[StepStatus, int, int]]] = {}
    for row in await connection.fetch(SQL["shard_counts"], execution_id):
        found.setdefault(row["step"], []).append((StepStatus(row["status"]), row["shards"], row["retries"]))
    return found


def _step(row: database.Row, counted: list[tuple[StepStatus, int, int]]) -> Step:
    fields = dict(row)
    total = fields.pop("shards")
    shards = None if total is None else Shards(
        total=total,
        done=sum(number for status, number, _ in counted if status in _DONE),
        failed=sum(number for status, number, _ in counted if status is StepStatus.FAILED),
        running=sum(number for status, number, _ in counted if status is StepStatus.RUNNING),
        retries=sum(retries for _, _, retries in counted),
    )  # fmt: skip
    return Step(
        **{
            **fields,
            "status": StepStatus(row["status"]),
            "depends_on": tuple(row["depends_on"]),
            "summary": row["summary"] or {},
            "output": _reference(row["output"]),
            "files": {name: DataRef.model_validate(ref) for name, ref in (row["files"] or {}).items()},
            "shards": shards,
        }
    )


def _reference(value: object) -> DataRef | None:
    return None if value is None else DataRef.model_validate(value)
