"""The object store, for the commands that need it; the others start sooner without its library."""

import contextlib
from collections.abc import AsyncIterator

from infra import objects
from infra.settings import Settings


@contextlib.asynccontextmanager
async def store(configured: Settings) -> AsyncIterator[objects.Objects]:
    """The bucket of documents."""
    async with objects.of(configured, threads=4) as found:
        yield found
