"""Postgres: the pool, and the translation of its faults."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import pydantic_core

from contracts.errors import FactoryError

Pool: TypeAlias = asyncpg.Pool
Connection: TypeAlias = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
Row: TypeAlias = asyncpg.Record

DATA_ERRORS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.exceptions.ProgramLimitExceededError,
)
"""What one bad value can cause; only a batch in which everything else commits proves that it was the value."""

CONTENTION = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""The whole transaction is simply run again."""

UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""The server is away; so is asyncpg's pool until it is back. A connection that is lost while a transaction on it is
rolled back can end as an InternalClientError."""

UndefinedTable = asyncpg.UndefinedTableError
"""A table that a statement names does not exist."""

Failure = asyncpg.PostgresError
"""Anything that the server refuses."""

COMMAND_TIMEOUT = 30.0
CONNECT_TIMEOUT = 10.0
CLOSE_TIMEOUT = 5.0


BY_INDEX = dict.fromkeys(("enable_seqscan", "enable_hashjoin", "enable_mergejoin"), "off")
"""Has Postgres look each row up by an index. Plans are made once for each session: one that was made while a table was
empty would read it whole until statistics say how large it has become."""


class DatabaseError(FactoryError):
    """The database cannot be used."""


async def _prepare(connection: asyncpg.Connection) -> None:
    def encode(value: Any) -> str:
        # Models are written as they are in messages, without the fields that are not set.
        return pydantic_core.to_json(value, exclude_none=True).decode()

    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=encode, decoder=pydantic_core.from_json, format="text"
        )


async def _leave(connection: asyncpg.Connection) -> None:
    """What asyncpg does when a connection goes back to the pool. By itself it resets the session, one more round trip
    for each transaction; nothing here sets, listens, opens a cursor or takes a lock beyond its transaction."""
    if connection.is_in_transaction():
        await connection.reset()


@contextlib.asynccontextmanager
async def connect(url: str, *, application: str, size: int = 10, by_index: bool = False) -> AsyncIterator[Pool]:
    """A pool of up to ``size`` connections. No statement runs longer than 30 s; no transaction idles longer than that.

    With ``by_index`` statements are planned for a few rows of large tables, whatever the tables hold by now.
    Raises DatabaseError if the server cannot be reached.
    """
    settings = {
        "application_name": application,
        "idle_in_transaction_session_timeout": f"{COMMAND_TIMEOUT:.0f}s",
        "lock_timeout": f"{COMMAND_TIMEOUT:.0f}s",
        "timezone": "UTC",
        **(BY_INDEX if by_index else {}),
    }
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size,
            init=_prepare,
            reset=_leave,
            command_timeout=COMMAND_TIMEOUT,
            timeout=CONNECT_TIMEOUT,
            server_settings=settings,
        )
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise DatabaseError(f"cannot connect to the database of FACTORY_DATABASE_URL: {error}") from error
    try:
        yield pool
    finally:
        await _close(pool)


async def _close(pool: Pool) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await pool.close()
    except TimeoutError:
        pool.terminate()
