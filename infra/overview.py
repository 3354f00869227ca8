"""The state of the whole factory at one moment, as much of it as somebody who watches it can take in.

Every statement reads what is live, or what a short window names, and stops at a limit, so that asking each second costs
little however much waits.
"""

import dataclasses
from collections.abc import Sequence
from uuid import UUID

from contracts.states import ExecutionStatus, PauseReason, StepStatus
from contracts.tiers import Tier
from infra import database, statements

SQL = statements.load("overview")

LISTED = 50
LETTER_LIMIT = 10_000

LOOKED_AT = 2_000
"""Executions of a status among which the oldest are sought; slots bound those that run."""

COUNTED_SHARDS = 500


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """What ended in a window of time; ``steps`` counts steps and shards that were worked on."""

    executions: int
    executions_failed: int
    steps: int
    steps_failed: int


@dataclasses.dataclass(frozen=True, slots=True)
class Present:
    """A step at which an execution is; ``done`` is None where there are too many shards to count again and again."""

    step: str
    status: StepStatus
    fraction: float | None
    note: str | None
    shards: int | None
    done: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class UnderWay:
    """An execution that runs or is paused; ``seconds`` since its submission, ``running_seconds`` since its start."""

    id: UUID
    client: str
    tier: Tier
    template: str
    template_version: int
    status: ExecutionStatus
    pause_reason: PauseReason | None
    seconds: float
    running_seconds: float | None
    steps: int
    over: int
    present: Sequence[Present]


@dataclasses.dataclass(frozen=True, slots=True)
class Letters:
    """Open dead letters that are alike; ``place`` is a stage or a queue, the ages are in seconds."""

    reason: str
    error_class: str
    place: str
    letters: int
    oldest: float
    newest: float


async def ended(connection: database.Connection, seconds: float) -> Ended:
    """What ended in the last seconds."""
    (row,) = await connection.fetch(SQL["ended"], seconds)
    return Ended(**dict(row))


async def under_way(connection: database.Connection) -> list[UnderWay]:
    """Fifty executions that have run for longest, the longest first, and then fifty paused ones."""
    rows = await connection.fetch(SQL["under_way"], LISTED, LOOKED_AT, COUNTED_SHARDS)
    return [
        UnderWay(
            **{
                **dict(row),
                "tier": Tier(row["tier"]),
                "status": ExecutionStatus(row["status"]),
                "pause_reason": PauseReason(row["pause_reason"]) if row["pause_reason"] else None,
                "present": tuple(Present(**{**told, "status": StepStatus(told["status"])}) for told in row["present"]),
            }
        )
        for row in rows
    ]


async def letters(connection: database.Connection) -> list[Letters]:
    """Open dead letters by reason and place, those with the newest first."""
    return [Letters(**dict(row)) for row in await connection.fetch(SQL["open_letters"], LETTER_LIMIT)]
