"""Removal of what is over for long: executions with all that is theirs, settled dead letters, old months of facts.

Each function commits by itself what it does, and does little, so that nobody waits for it.
"""

import dataclasses
import datetime
from uuid import UUID

from infra import database, statements

SQL = statements.load("retention")

LOCK = 7_266_100_003
"""Key of the advisory lock that whoever removes holds."""

BATCH = 500
"""Executions or dead letters that one transaction removes at most."""

BATCH_ROWS = 20_000
"""Steps and shards that they may have together; a single execution may have more."""


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """How far a pass over the old executions has come."""

    created_at: datetime.datetime
    execution_id: UUID


BEGINNING = Place(datetime.datetime(1, 1, 1, tzinfo=datetime.UTC), UUID(int=0))


@dataclasses.dataclass(frozen=True, slots=True)
class Removed:
    """How many executions a batch has removed, and the place to go on from, None after the last ones."""

    executions: int
    place: Place | None


async def executions(
    pool: database.Pool, seconds: float, after: Place, *, limit: int = BATCH, rows: int = BATCH_ROWS
) -> Removed:
    """Removes the next executions that were over so many seconds ago, with their steps, deliverables and timers.

    Nothing is removed while another coordinator removes something. What is locked, and what has an open dead letter,
    is passed over.
    """
    async with pool.acquire() as connection, connection.transaction():
        found = await _alone(connection) and await connection.fetch(
            SQL["remove_executions"], seconds, after.created_at, after.execution_id, limit, rows
        )
    if not found:
        return Removed(0, None)
    return Removed(len(found), Place(found[-1]["created_at"], found[-1]["id"]))


async def rest(pool: database.Pool, seconds: float, *, limit: int = BATCH) -> int:
    """Removes dead letters settled so many seconds ago, and what is still owed about executions that are gone.

    Says how many dead letters those were, at most ``limit``.
    """
    async with pool.acquire() as connection, connection.transaction():
        if not await _alone(connection):
            return 0
        letters = await connection.fetch(SQL["remove_letters"], seconds, limit)
        await connection.execute(SQL["remove_owed"], seconds, limit)
        await connection.execute(SQL["remove_strays"], seconds, limit)
        return len(letters)


async def month(pool: database.Pool, seconds: float) -> str | None:
    """Drops the oldest month of the timeline that was over so many seconds ago; None if there is none, or it is used.

    Facts that stand in a younger month stay, also those of executions that are gone.
    """
    async with pool.acquire() as connection:
        row = await connection.fetchrow(SQL["drop_partition"], seconds)
        return None if row is None else row["dropped"]


async def _alone(connection: database.Connection) -> bool:
    row = await connection.fetchrow(SQL["try_lock"], LOCK)
    return row is not None and bool(row["alone"])
