"""Jobs that come again by the clock, in Postgres. When each is due next stands among the timers."""

import dataclasses
import datetime
from collections.abc import Mapping
from uuid import UUID

from contracts.messages import Json, SubmitJob
from contracts.tiers import OptimiseFor, Quality
from infra import cron, database, statements, timers

SQL = statements.load("schedules")


@dataclasses.dataclass(frozen=True, slots=True)
class Schedule:
    """A job and when it comes. ``next_due`` is None while it is paused; ``last_problem`` says why no job came last."""

    id: str
    client: str
    template: str
    template_version: int | None
    parameters: Mapping[str, Json]
    quality: Quality
    optimise_for: OptimiseFor
    urgency: int
    budget: int | None
    cron: str
    timezone: str
    active: bool = True
    last_due: datetime.datetime | None = None
    last_execution: UUID | None = None
    last_problem: str = ""
    next_due: datetime.datetime | None = None

    def job(self, submit_key: str) -> SubmitJob:
        """The job under this submit key."""
        return SubmitJob(
            submit_key=submit_key,
            client=self.client,
            template=self.template,
            template_version=self.template_version,
            parameters=dict(self.parameters),
            quality=self.quality,
            optimise_for=self.optimise_for,
            urgency=self.urgency,
            budget=self.budget,
        )


async def add(connection: database.Connection, new: Schedule) -> Schedule | None:
    """Adds a schedule, due for the first time from now on; None if its id is taken. Raises CronError."""
    async with connection.transaction():
        row = await connection.fetchrow(
            SQL["insert_schedule"],
            *(new.id, new.client, new.template, new.template_version, dict(new.parameters), new.quality.value),
            *(new.optimise_for.value, new.urgency, new.budget, new.cron, new.timezone),
        )
        return None if row is None else await _activated(connection, new.id, active=True)


async def listing(connection: database.Connection, schedule_id: str | None = None) -> list[Schedule]:
    """All schedules, or the one of that id if there is one."""
    return [_schedule(row) for row in await connection.fetch(SQL["list_schedules"], schedule_id)]


async def set_active(connection: database.Connection, schedule_id: str, *, active: bool) -> Schedule | None:
    """Pauses or resumes a schedule; what it missed while it was paused does not come. None if there is none."""
    async with connection.transaction():
        return await _activated(connection, schedule_id, active=active)


async def _activated(connection: database.Connection, schedule_id: str, *, active: bool) -> Schedule | None:
    locked = await lock(connection, schedule_id)
    if locked is None:
        return None
    found, now = locked
    await connection.execute(SQL["activate_schedule"], schedule_id, active)
    (before,) = await listing(connection, schedule_id)
    if not active:
        await timers.set_schedule(connection, schedule_id, None)
    elif before.next_due is None:
        await timers.set_schedule(connection, schedule_id, cron.next_due(found.cron, found.timezone, now))
    return (await listing(connection, schedule_id))[0]


async def remove(connection: database.Connection, schedule_id: str) -> bool:
    """Forgets a schedule, its executions stay; False if there is none."""
    async with connection.transaction():
        if await lock(connection, schedule_id) is None:
            return False
        await connection.execute(SQL["delete_schedule"], schedule_id)
        await timers.set_schedule(connection, schedule_id, None)
        return True


async def lock(connection: database.Connection, schedule_id: str) -> tuple[Schedule, datetime.datetime] | None:
    """The schedule, held until the transaction ends, and the database's time; None if there is none."""
    row = await connection.fetchrow(SQL["lock_schedule"], schedule_id)
    return None if row is None else (_schedule(row), row["now"])


async def note(
    connection: database.Connection,
    schedule_id: str,
    due: datetime.datetime,
    execution_id: UUID | None,
    problem: str,
) -> None:
    """Notes what came of a schedule when it was due: an execution, or a problem."""
    await connection.execute(SQL["note_schedule"], schedule_id, due, execution_id, problem)


def _schedule(row: database.Row) -> Schedule:
    return Schedule(
        id=row["id"],
        client=row["client_id"],
        template=row["template"],
        template_version=row["template_version"],
        parameters=row["parameters"],
        quality=Quality(row["quality"]),
        optimise_for=OptimiseFor(row["optimise_for"]),
        urgency=row["urgency"],
        budget=row["budget"],
        cron=row["cron"],
        timezone=row["timezone"],
        active=row["active"],
        last_due=row["last_due"],
        last_execution=row["last_execution"],
        last_problem=row["last_problem"],
        next_due=row["next_due"],
    )
