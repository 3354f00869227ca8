"""The one clock for all that becomes due, in Postgres: retries, delays and deadlines of executions, schedules."""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal
from uuid import UUID

from contracts.messages import TaskKey
from infra import database, statements

SQL = statements.load("timers")

Kind = Literal["retry", "delay", "deadline", "schedule"]


@dataclasses.dataclass(frozen=True, slots=True)
class Timer:
    """Something that is due. A retry has a key, a delay or a deadline an execution, a schedule its id as subject."""

    kind: Kind
    subject: str
    due_at: datetime.datetime
    execution_id: UUID | None
    key: TaskKey | None


async def set_retries(connection: database.Connection, waiting: Sequence[tuple[TaskKey, float | None]]) -> None:
    """Rows wait so many seconds for another attempt; with None until their execution goes on."""
    if waiting:
        keys = [key for key, _ in waiting]
        columns = [[key[i] for key in keys] for i in range(5)]
        await connection.execute(SQL["set_retries"], *columns, [seconds for _, seconds in waiting])


async def set_execution(
    connection: database.Connection, kind: Literal["delay", "deadline"], execution_id: UUID, seconds: float
) -> None:
    """The delay or the deadline of an execution is so many seconds from now."""
    await set_executions(connection, kind, {execution_id: seconds})


async def set_executions(
    connection: database.Connection, kind: Literal["delay", "deadline"], seconds: Mapping[UUID, float]
) -> None:
    """The same for several executions, each with its own seconds."""
    if seconds:
        await connection.execute(SQL["set_executions"], kind, list(seconds), list(seconds.values()))


async def set_schedule(connection: database.Connection, schedule_id: str, due_at: datetime.datetime | None) -> None:
    """The schedule is due at that moment; with None never."""
    if due_at is None:
        await connection.execute(SQL["remove_schedule"], schedule_id)
    else:
        await connection.execute(SQL["set_schedule"], schedule_id, due_at)


async def hold(connection: database.Connection, execution_ids: Iterable[UUID]) -> None:
    """The delays before further attempts of these executions do not end until they are woken."""
    await connection.execute(SQL["hold"], sorted(execution_ids))


async def wake(connection: database.Connection, execution_ids: Iterable[UUID]) -> None:
    """The delays before further attempts of these executions are over now."""
    await connection.execute(SQL["wake"], sorted(execution_ids))


async def due(connection: database.Connection, limit: int) -> list[Timer]:
    """What is due, the longest due first. Nothing is locked: several coordinators may read the same."""
    return [_timer(row) for row in await connection.fetch(SQL["due"], limit)]


async def seconds_to_next(connection: database.Connection) -> float | None:
    """Seconds until the next timer is due, negative if one is; None if there is none."""
    row = await connection.fetchrow(SQL["seconds_to_next"])
    return None if row is None else row["seconds"]


async def done(connection: database.Connection, seen: Sequence[Timer]) -> int:
    """Forgets timers that have been seen to, and says how many; one that was set again since it was read stays."""
    return len(await connection.fetch(SQL["done"], *_identities(seen))) if seen else 0


async def postpone(connection: database.Connection, seen: Sequence[Timer], seconds: float) -> None:
    """Timers that could not be seen to are due again in so many seconds, and hold up no others until then."""
    if seen:
        await connection.execute(SQL["postpone"], *_identities(seen), seconds)


async def keep_house(connection: database.Connection) -> None:
    """Forgets the delays of executions that ended while they were paused."""
    await connection.execute(SQL["forget_held"])


def _identities(seen: Sequence[Timer]) -> tuple[list[str], list[str], list[datetime.datetime]]:
    return [t.kind for t in seen], [t.subject for t in seen], [t.due_at for t in seen]


def _timer(row: database.Row) -> Timer:
    key = None
    if row["kind"] == "retry":
        key = TaskKey(row["execution_id"], row["epoch"], row["step"], row["shard"], row["attempt"])
    return Timer(row["kind"], row["subject"], row["due_at"], row["execution_id"], key)
