"""When the steps of one execution waited and ran, and what they cost, as far as their rows and the timeline tell."""

import dataclasses
from uuid import UUID

from contracts.states import StepStatus
from infra import database, statements

SQL = statements.load("timings")

SHARD_LIMIT = 10_000
REPEAT_LIMIT = 1_000


@dataclasses.dataclass(frozen=True, slots=True)
class Times:
    """Moments of a step's last offer in seconds from the submission, None for what has not come yet.

    ``opened`` is when the step was last opened again, None where it never was: what came before is another run of it.
    ``started`` is when the coordinator heard of it, ``worked`` how long its worker says that it took.
    """

    step: str
    opened: float | None
    offered: float | None
    started: float | None
    finished: float | None
    worked: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class ShardTimes:
    """The same of a shard; ``repeated`` is when its last attempt ended that was followed by another."""

    shard: int
    status: StepStatus
    attempt: int
    worker: str | None
    offered: float | None
    started: float | None
    finished: float | None
    worked: float | None
    repeated: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Repeat:
    """An attempt that was followed by another: when it had ended, and for how long the next one was held back."""

    step: str
    ended: float
    wait: float


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """What the paid calls of a step cost and still reserve, in millionths of a US dollar."""

    step: str
    spent: int
    reserved: int
    calls: int


async def steps(connection: database.Connection, execution_id: UUID) -> list[Times]:
    """Every step in the order of the template."""
    rows = await connection.fetch(SQL["steps"], execution_id)
    return [Times(**dict(row)) for row in rows]


async def shards(connection: database.Connection, execution_id: UUID, step: str) -> list[ShardTimes]:
    """The first ten thousand shards of a step."""
    rows = await connection.fetch(SQL["shards"], execution_id, step, SHARD_LIMIT)
    return [ShardTimes(**{**dict(row), "status": StepStatus(row["status"])}) for row in rows]


async def repeats(connection: database.Connection, execution_id: UUID) -> list[Repeat]:
    """The last thousand attempts at the steps themselves that were followed by another, in their order."""
    return [Repeat(**dict(row)) for row in await connection.fetch(SQL["repeats"], execution_id, REPEAT_LIMIT)]


async def costs(connection: database.Connection, execution_id: UUID) -> dict[str, Cost]:
    """What each step that made paid calls has cost."""
    return {row["step"]: Cost(**dict(row)) for row in await connection.fetch(SQL["costs"], execution_id)}
