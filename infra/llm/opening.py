"""Models as a worker opens them: the library that speaks to them takes long to load, and is only where one is set."""

import contextlib
import importlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from contracts.llm import Llm
from contracts.stages import Budget, Cache
from infra import database
from infra.llm.options import Options


class Service(Protocol):
    """The models of one worker process."""

    def asker(self, budget: Budget, cache: Cache, remaining: Callable[[], float], *, degraded: bool = False) -> Llm:
        """What an attempt asks with, which may spend that much and has so many seconds left; if it is degraded, it only
        gets what is kept."""
        ...


@contextlib.asynccontextmanager
async def opened(options: Options, pool: database.Pool) -> AsyncIterator[Service | None]:
    """The service while the context lasts; None where settings name no key or no model."""
    if not options.on:
        yield None
        return
    async with importlib.import_module("infra.llm.service").connect(options, pool) as service:
        yield service
