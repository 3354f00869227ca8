"""Who holds which task, and what the passing of time makes due, in Postgres."""

import dataclasses
import datetime
from collections.abc import Sequence
from uuid import UUID

from contracts.messages import TaskKey, WorkerHeartbeat
from contracts.tiers import Tier
from infra import database, statements

SQL = statements.load("leases")


@dataclasses.dataclass(frozen=True, slots=True)
class Unheld:
    """A published task that no worker holds, and the queue it was published to."""

    key: TaskKey
    stage: str
    tier: Tier
    published_at: datetime.datetime


def _key(row: database.Row) -> TaskKey:
    return TaskKey(row["execution_id"], row["epoch"], row["step"], row["shard"], row["attempt"])


async def record(connection: database.Connection, beat: WorkerHeartbeat) -> bool:
    """Records a heartbeat and what its worker holds; False for one that a newer heartbeat has overtaken."""
    async with connection.transaction():
        row = await connection.fetchrow(
            SQL["record_heartbeat"],
            *(beat.worker, list(beat.stages), beat.capacity, beat.in_flight, beat.sequence, beat.stopping),
        )
        if row is None:
            return False
        held = [[key[i] for key in beat.held] for i in range(5)]
        if beat.held:
            await connection.execute(SQL["claim_held"], beat.worker, *held)
        await connection.execute(SQL["release_unheld"], beat.worker, *held)
        return True


async def unpublished(connection: database.Connection, older_than: float, limit: int) -> list[TaskKey]:
    """Tasks whose publish has been owed for longer than so many seconds."""
    return [_key(row) for row in await connection.fetch(SQL["unpublished"], older_than, limit)]


async def unprepared(connection: database.Connection, limit: int) -> list[TaskKey]:
    """Steps whose inputs are still to be gathered."""
    return [_key(row) for row in await connection.fetch(SQL["unprepared"], limit)]


async def lapsed(connection: database.Connection, lease: float, limit: int) -> list[tuple[TaskKey, str]]:
    """Tasks whose worker has been silent for so many seconds, with that worker."""
    return [(_key(row), row["worker"]) for row in await connection.fetch(SQL["lapsed"], lease, limit)]


async def overdue(connection: database.Connection, grace: float, limit: int) -> list[TaskKey]:
    """Tasks held longer than their time-out and so many seconds more."""
    return [_key(row) for row in await connection.fetch(SQL["overdue"], grace, limit)]


async def crash_looped(
    connection: database.Connection, starts: int, lease: float, limit: int
) -> list[tuple[TaskKey, int]]:
    """Tasks of which at least so many confirmed starts ended with the death of the worker, with that number."""
    rows = await connection.fetch(SQL["crash_looped"], starts, lease, limit)
    return [(_key(row), row["deaths"]) for row in rows]


async def unheld(connection: database.Connection, longer_than: float, limit: int) -> list[Unheld]:
    """Published tasks that no worker has held for so many seconds, up to ``limit`` of each queue, the oldest first."""
    rows = await connection.fetch(SQL["unheld"], longer_than, limit)
    return [Unheld(_key(row), row["stage"], Tier(row["tier"]), row["published_at"]) for row in rows]


async def now(connection: database.Connection) -> datetime.datetime:
    """The database's time, the only clock that counts."""
    row = await connection.fetchrow(SQL["database_time"])
    if row is None:
        raise database.DatabaseError("the database does not tell the time")
    found: datetime.datetime = row["now"]
    return found


async def live_cancels(connection: database.Connection, seconds: float, limit: int) -> Sequence[tuple[UUID, int]]:
    """Executions cancelled within so many seconds, with their epoch, the latest first."""
    return [(row["id"], row["epoch"]) for row in await connection.fetch(SQL["live_cancels"], seconds, limit)]


async def keep_house(connection: database.Connection) -> None:
    """Forgets worker instances that are long gone, and makes the timeline's partitions that are missing or next."""
    await connection.execute(SQL["forget_instances"])
    await connection.execute(SQL["make_partitions"], 3)
