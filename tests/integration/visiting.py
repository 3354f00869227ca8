"""Workers that visit sites of a test, with a real database and real child processes."""

import contextlib
import datetime
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple, TypeVar

from consumers import harness
from consumers.analysis import embedding, local
from consumers.runtime import isolation
from consumers.stages import feed_fetcher
from contracts import errors, stages
from infra import database, fetch, visits
from tests import sites
from tests.factories import Factory
from tests.integration import money

A = TypeVar("A")
R = TypeVar("R")

PATIENCE = 10.0

SPACED = visits.Manners(domain_seconds=0.0, request_seconds=2.0)
"""Least intervals as they are by default, and no distance between requests, so that a test need not wait for them."""


class Worker(NamedTuple):
    """What one worker process has of it."""

    visitor: visits.Visitor
    pool: database.Pool

    async def follow(self, url: str, *entries: str, patience: float = 5.0) -> stages.Followed[str]:
        """A feed, read as its text; it lists what the test says, or its lines."""

        async def read(page: stages.Page) -> stages.Reading[str]:
            text = page.body.decode()
            if text.startswith("<html"):
                raise errors.PermanentError("the document is a web page, not a feed")
            return stages.Reading(text, entries or tuple(text.split()))

        return await self.visitor.follow(url, {"Accept": "text/x"}, read, patience)


@contextlib.asynccontextmanager
async def worker(
    tables: Factory, *sites_: sites.Site, manners: visits.Manners = SPACED, unknown: tuple[str, ...] = ()
) -> AsyncIterator[Worker]:
    """A worker that may fetch from these sites under any name but the unknown ones."""
    limits = fetch.Limits(connect=2, total=2, idle=2)
    names = sites.Everywhere(frozenset(unknown))
    async with (
        money.workers(tables) as pool,
        fetch.Fetcher(limits, [site.address for site in sites_], resolver=names) as fetcher,
    ):
        yield Worker(visits.Visitor(fetcher, pool, manners), pool)


async def time_passes(tables: Factory) -> None:
    """All that is to be waited out is over."""
    await tables.fetch("UPDATE shared.pages SET next_at = now() - interval '1 second'")
    await tables.fetch("UPDATE shared.domains SET hold_until = now() - interval '1 second', next_at = now()")


class Context(harness.Context):
    """The harness with the memory of all workers, real sites and real child processes."""

    def __init__(self, visitor: visits.Visitor, children: isolation.ChildPool, now: datetime.datetime) -> None:
        async def get(url: str, headers: Mapping[str, str]) -> stages.Page:
            return await visitor.get(url, headers, PATIENCE)

        super().__init__(feed_fetcher.SPEC, local.LocalAnalyst(embedding.packaged()), get, now)
        self._visitor = visitor
        self._children = children

    async def fetch(self, url: str, headers: Mapping[str, str] | None = None, *, remember: bool = False) -> stages.Page:
        """The page, remembered if that is wanted."""
        visit = self._visitor.remembered if remember else self._visitor.get
        return await visit(url, headers or {}, PATIENCE)

    async def follow(
        self, url: str, headers: Mapping[str, str], read: Callable[[stages.Page], Awaitable[stages.Reading[R]]]
    ) -> stages.Followed[R]:
        """The page, remembered and read."""
        return await self._visitor.follow(url, headers, read, PATIENCE)

    async def isolated(self, function: Callable[[A], R], argument: A) -> R:
        """The result of the function from a child process."""
        return await self._children.run(function, argument)
