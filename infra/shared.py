"""What stages share in Postgres, under a role that can reach nothing else."""

import contextlib
from collections.abc import AsyncIterator

from contracts.errors import OutageError
from contracts.messages import Json
from infra import database, metrics, statements

SQL = statements.load("shared")


async def drop_stale(connection: database.Connection) -> None:
    """Removes what is stale from the caches of all stages."""
    await connection.execute(SQL["drop_stale"])


@contextlib.asynccontextmanager
async def reach(pool: database.Pool, what: str) -> AsyncIterator[database.Connection]:
    """A connection for statements about something shared; raises OutageError if the database is away."""
    try:
        async with pool.acquire() as connection:
            yield connection
    except (database.Failure, *database.UNAVAILABLE) as error:
        raise OutageError(f"what workers share cannot be reached ({what}): {error!r}") from error


class SharedCache:
    """The cache of one stage. A database that is away is an OutageError, since a stage may rely on what it cached."""

    def __init__(self, pool: database.Pool, scope: str) -> None:
        self._pool = pool
        self._scope = scope

    async def get(self, key: str) -> Json:
        """The value last put under the key, None if there is none or it is stale."""
        async with reach(self._pool, "cache") as connection:
            row = await connection.fetchrow(SQL["read_cache"], self._scope, key)
        metrics.CACHE.labels(self._scope, "miss" if row is None else "hit").inc()
        return None if row is None else row["value"]

    async def put(self, key: str, value: Json, seconds: float) -> None:
        """Keeps a value under the key for so many seconds, for every worker of the stage."""
        async with reach(self._pool, "cache") as connection:
            await connection.execute(SQL["write_cache"], self._scope, key, value, seconds)
