"""Figures over what happened in a window of time, read from the views of the schema ``reporting``.

Rows of executions are removed when they are old enough, so a window reaches back as far as they are kept.
"""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Literal

from contracts.tiers import Tier
from infra import database, statements, views

SQL = statements.load("statistics")

WORKER_LIMIT = 1_000
COST_LIMIT = 10_000

Grouping = Literal["client", "stage", "purpose"]


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """The last ``seconds``, and what is to be counted in them; None fits everything."""

    seconds: float
    client: str | None = None
    template: str | None = None
    tier: Tier | None = None
    stage: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Executions:
    """What became of a template's executions, or of all where it is None.

    The success rate is that of completed and partial ones among all that nobody cancelled. ``p50`` and ``p95`` are the
    seconds from submission to end of those; ``queued_...`` the seconds until they began.
    """

    template: str | None
    finished: int
    completed: int
    partial: int
    failed: int
    cancelled: int
    success_rate: float | None
    p50: float | None
    p95: float | None
    queued_p50: float | None
    queued_p95: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """The attempts of a stage that ended: ``completed`` and ``failed`` for good, and ``retries``, followed by others.

    ``failures`` counts the latter two by class. Seconds of work are those of attempts that completed.
    """

    stage: str
    tier: Tier
    attempts: int
    completed: int
    failed: int
    retries: int
    failure_rate: float
    failures: Mapping[str, int]
    run_p50: float | None
    run_p95: float | None
    waited_p50: float | None
    waited_p95: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Cost:
    """What a client's paid calls of a day (UTC) cost, in millionths of a US dollar, what exceeded its reservation
    included. Stage and purpose are None where they are not asked for, and the stage where its execution is gone."""

    day: str
    client: str
    stage: str | None
    purpose: str | None
    calls: int
    spent: int
    overrun: int


@dataclasses.dataclass(frozen=True, slots=True)
class Worker:
    """A worker process: how it is, None where only its work is still known, and what its attempts came to.

    ``lost`` counts the tasks that it held when it was not heard of for a lease.
    """

    id: str
    stages: tuple[str, ...]
    capacity: int | None
    in_flight: int | None
    silent: float | None
    stopped: bool | None
    started_at: datetime.datetime | None
    completed: int
    failed: int
    lost: int
    failure_rate: float | None


async def executions(connection: database.Connection, window: Window) -> list[Executions]:
    """Executions that ended in the window, by template, and in the last row all of them; none if there are none."""
    rows = await connection.fetch(SQL["executions"], window.seconds, window.client, window.template, window.tier)
    return [Executions(**dict(row)) for row in rows]


async def stages(connection: database.Connection, window: Window) -> list[Stage]:
    """Attempts that ended in the window, by stage and tier."""
    rows = await connection.fetch(
        SQL["stages"], window.seconds, window.client, window.template, window.tier, window.stage
    )
    return [Stage(**{**dict(row), "tier": Tier(row["tier"])}) for row in rows]


async def costs(connection: database.Connection, window: Window, by: Grouping) -> list[Cost]:
    """What paid calls of the window cost, the latest day first; at most ten thousand rows."""
    rows = await connection.fetch(
        SQL["costs"], window.seconds, window.client, window.template, window.tier, by, COST_LIMIT
    )
    return [Cost(**dict(row)) for row in rows]


async def workers(connection: database.Connection, window: Window) -> list[Worker]:
    """At most a thousand worker processes of the window, those that are alive first, the newest of them at the top."""
    rows = await connection.fetch(SQL["workers"], window.seconds, window.stage, WORKER_LIMIT, views.SILENT_SECONDS)
    return [Worker(**{**dict(row), "stages": tuple(row["stages"] or ())}) for row in rows]
