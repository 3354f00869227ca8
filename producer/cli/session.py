"""What commands share while they work: the settings, the servers, and faults told as sentences."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import TextIO, TypeVar

from contracts.errors import FactoryError
from infra import database, log, settings
from infra.settings import Settings

T = TypeVar("T")

UNDEFINED_TABLE = "42P01"


def run(work: Coroutine[None, None, T], told: TextIO | None = None) -> T:
    """The result of the work; raises FactoryError for whatever the servers' state explains.

    What the work logs goes to ``told``, or to standard error, which is no place for it while a screen is drawn.
    """
    log.configure("factory", "warning", "console", stream=told)
    try:
        return asyncio.run(work)
    except ExceptionGroup as group:
        explained = _first(group)
        if explained is None:
            raise
        raise explained from group
    except database.UNAVAILABLE as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # a file, not a server
        raise FactoryError(f"a server does not answer: {error!r}; see 'factory status'") from error
    except database.Failure as error:
        if error.sqlstate == UNDEFINED_TABLE:
            raise database.DatabaseError("the database has no tables of the factory; run 'factory migrate'") from error
        raise


def _first(group: BaseExceptionGroup[BaseException]) -> FactoryError | None:
    for error in group.exceptions:
        found = _first(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, FactoryError):
            return found
    return None


def known() -> Settings:
    """The settings of this process; raises FactoryError that says how to have some."""
    return settings.from_process()


@contextlib.asynccontextmanager
async def tables(configured: Settings, size: int = 2) -> AsyncIterator[database.Connection]:
    """A connection to the database."""
    async with (
        database.connect(configured.database_url, application="factory", size=size) as pool,
        pool.acquire() as connection,
    ):
        yield connection
