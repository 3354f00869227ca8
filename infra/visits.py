"""Visits of workers to sites as of a good guest: remembered, conditional, in turn, and not at all where not welcome.

docs/fetching.md says what is done and why, with the sections of the standards.
"""

import asyncio
import contextlib
import dataclasses
import ipaddress
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import NamedTuple, TypeVar

import yarl

from contracts import errors, stages
from infra import answers, database, domains, egress, feed_states, fetch, metrics, pages

R = TypeVar("R")

Read = Callable[[stages.Page], Awaitable[stages.Reading[R]]]

MARGIN_SECONDS = 10.0
"""What a turn or a claim may last beyond the time that a request may take."""

LONGEST_AFTER = 3600.0
"""Seconds after which an attempt may be made again: a report goes without what rests for longer."""

NOT_ASKED = (domains.HeldError, errors.BusyError)
"""Nothing was asked, so that nothing is known of the page that was not known before."""

STATUSES: Mapping[str, Mapping[str, str]] = {"gone": {"status": "410"}, "missing": {"status": "404"}}
"""What the failure of a page that is not there says in its details for as long as that is remembered."""

_CHANCE = random.SystemRandom()


@dataclasses.dataclass(frozen=True, slots=True)
class Manners:
    """What operators set: seconds between two requests for one feed at least, and between two to one domain.

    ``request_seconds`` bounds a request. Endpoints of ``own`` are the operator's own servers, asked as often and as
    fast as anybody likes.
    """

    feed_seconds: float = 900.0
    domain_seconds: float = 1.0
    request_seconds: float = 20.0
    own: frozenset[egress.Endpoint] = frozenset()


class _Visit(NamedTuple):
    """One look at a page: with which headers it is asked for, and until when (monotonic) a turn is awaited."""

    url: str
    kind: pages.Kind
    headers: Mapping[str, str]
    until: float
    holder: uuid.UUID


class Visitor:
    """Visits on behalf of all tasks of a worker. All its methods raise OutageError while the database is away."""

    def __init__(self, fetcher: fetch.Fetcher, pool: database.Pool, manners: Manners) -> None:
        self._fetcher = fetcher
        self._pool = pool
        self._manners = manners

    async def get(self, url: str, headers: Mapping[str, str], patience: float) -> stages.Page:
        """A page that is not remembered. Turns are awaited for ``patience`` seconds at most."""
        with _final(url):
            return await self._request(url, headers, time.monotonic() + patience)

    async def remembered(self, url: str, headers: Mapping[str, str], patience: float) -> stages.Page:
        """A page from the memory of all workers, asked for again once a day at most."""

        async def read(page: stages.Page) -> stages.Reading[None]:
            return stages.Reading(None)

        return (await self._visit(url, "page", headers, read, patience)).page

    async def follow(self, url: str, headers: Mapping[str, str], read: Read[R], patience: float) -> stages.Followed[R]:
        """A feed from that memory, read; asked for as often as its server, its state and the operator want."""
        return await self._visit(url, "feed", headers, read, patience)

    async def _visit(
        self, url: str, kind: pages.Kind, headers: Mapping[str, str], read: Read[R], patience: float
    ) -> stages.Followed[R]:
        named = str(fetch.target(url))
        visit = _Visit(named, kind, headers, time.monotonic() + patience, uuid.uuid4())
        lease = patience + self._manners.request_seconds + MARGIN_SECONDS
        with _final(url):
            kept = await pages.look(self._pool, named)
            while kept is None or not kept.rests:
                claimed = await pages.claim(self._pool, named, kind, visit.holder, lease)
                if claimed is not None:
                    return await self._claimed(visit, claimed, read)
                if time.monotonic() + domains.POLL > visit.until:
                    claimed_for = 0.0 if kept is None else kept.claimed
                    busy = errors.BusyError(f"{named} is being asked for by another worker", after=claimed_for)
                    return await self._stale(kept, read, busy)
                # What ends in another process cannot wake this one.
                await asyncio.sleep(domains.POLL)
                kept = await pages.look(self._pool, named)
            return await self._at_rest(kept, read)

    async def _claimed(self, visit: _Visit, kept: pages.Kept, read: Read[R]) -> stages.Followed[R]:
        try:
            # Somebody else may have asked since it was looked at.
            return await (self._at_rest(kept, read) if kept.rests else self._ask(visit, kept, read))
        finally:
            await asyncio.shield(pages.release(self._pool, visit.url, visit.holder))

    async def _at_rest(self, kept: pages.Kept, read: Read[R]) -> stages.Followed[R]:
        """A page that is not to be asked for now."""
        if kept.failures:
            told = f"it is left alone for a while after {kept.failures} failures in a row, the last: {kept.error}"
            details = dict(STATUSES.get(kept.fault, {}))
            error = errors.TransientError(f"{kept.url}: {told}", details, after=kept.rest)
            return await self._stale(kept, read, error)
        return await self._again(kept, read, "memory")

    async def _stale(self, kept: pages.Kept | None, read: Read[R], error: errors.StageError) -> stages.Followed[R]:
        """The page as it was seen last, since it cannot be had now; raises the error if it was never seen."""
        if kept is None or kept.body is None:
            raise error
        return await self._again(kept, read, "stale", str(error))

    async def _again(
        self, kept: pages.Kept, read: Read[R], origin: stages.Origin, because: str = ""
    ) -> stages.Followed[R]:
        page = await asyncio.to_thread(kept.page, origin, because)
        reading = await read(page)
        await pages.count_use(self._pool, kept.url)
        metrics.PAGES.labels(kept.kind, origin).inc()
        metrics.SAVED_BYTES.inc(kept.received)
        return _followed(kept, reading, page, kept.address)

    async def _ask(self, visit: _Visit, kept: pages.Kept, read: Read[R]) -> stages.Followed[R]:
        try:
            page = await self._request(kept.address, {**visit.headers, **kept.conditions}, visit.until)
        except errors.OutageError:
            raise
        except NOT_ASKED as error:
            return await self._stale(kept, read, error)
        except errors.StageError as error:
            await self._note_failure(visit, kept, error, answers.fault(error))
            return await self._stale(kept, read, error)
        if page.status == 304:
            page = await asyncio.to_thread(kept.confirmed, page)
        try:
            reading = await read(page)
        except errors.PermanentError as error:
            if page.origin == "unchanged":
                raise
            await self._note_failure(visit, kept, error, "unreadable", page.received)
            return await self._stale(kept, read, error)
        bounds = self._bounds(visit.kind, kept.address, page.url)
        answer = answers.read(kept, page, reading.entries, reading.newest, bounds)
        body = None if page.origin == "unchanged" else page.body
        await pages.write(self._pool, visit.url, visit.holder, answer, sent=page.received, body=body)
        metrics.PAGES.labels(visit.kind, page.origin).inc()
        metrics.SAVED_BYTES.inc(kept.received if body is None else 0)
        return _followed(kept, reading, page, answer.address)

    async def _note_failure(
        self, visit: _Visit, kept: pages.Kept, error: errors.StageError, fault: feed_states.Fault, sent: int = 0
    ) -> None:
        bounds = self._bounds(visit.kind, kept.address, kept.address)
        answer = answers.failed(kept, error, fault, bounds, _CHANCE.random())
        await pages.write(self._pool, visit.url, visit.holder, answer, sent=sent)
        metrics.PAGES.labels(visit.kind, "failed").inc()

    def _bounds(self, kind: pages.Kind, address: str, final: str) -> answers.Bounds:
        own = self._is_own(yarl.URL(address))
        least = answers.PAGE_SECONDS if kind == "page" else self._manners.feed_seconds
        # Whoever has a name lapse to him must not have the factory ask its own network from then on.
        movable = own or not self._is_own(yarl.URL(final))
        return answers.Bounds(0.0 if own else least, feed=kind == "feed", patient=not own, movable=movable)

    async def _request(self, url: str, headers: Mapping[str, str], until: float) -> stages.Page:
        """One request with its redirects, each of which takes its turn."""
        began, waited = time.monotonic(), 0.0

        @contextlib.asynccontextmanager
        async def turns(target: yarl.URL) -> AsyncIterator[None]:
            nonlocal waited
            since = time.monotonic()
            async with self._turn(target, until):
                waited += time.monotonic() - since
                yield

        def measure(outcome: str) -> None:
            metrics.FETCHES.labels(outcome).inc()
            metrics.FETCH_SECONDS.observe(time.monotonic() - began - waited)
            metrics.TURN_SECONDS.observe(waited)

        try:
            page = await self._fetcher.fetch(url, headers, turns)
        except (errors.OutageError, *NOT_ASKED):
            raise
        except errors.StageError as error:
            status = error.details.get("status")
            measure(f"{status[0]}xx" if status else error.error_class.value)
            raise
        measure("unchanged" if page.status == 304 else f"{page.status // 100}xx")
        metrics.FETCHED_BYTES.inc(page.received)
        return page

    def _turn(self, target: yarl.URL, until: float) -> contextlib.AbstractAsyncContextManager[None]:
        if self._is_own(target):
            return fetch.at_once(target)
        manners = self._manners
        return domains.turn(
            self._pool,
            target,
            spacing=manners.domain_seconds,
            lease=manners.request_seconds + MARGIN_SECONDS,
            patience=until - time.monotonic(),
        )

    def _is_own(self, target: yarl.URL) -> bool:
        """Whether it names, by its address, a server that the operator has admitted."""
        try:
            return (ipaddress.ip_address(target.host or ""), target.port) in self._manners.own
        except ValueError:
            return False


def _followed(kept: pages.Kept, reading: stages.Reading[R], page: stages.Page, address: str) -> stages.Followed[R]:
    return stages.Followed(reading.result, page, "" if address == kept.url else address)


@contextlib.contextmanager
def _final(url: str) -> Iterator[None]:
    """Has every failure name the URL as it was given, and what rests for long end the attempt for good: to wait for it
    would hold up everything else."""
    try:
        yield
    except errors.StageError as error:
        error.details.update(fetch.details_of(url))
        after = error.after if isinstance(error, errors.TransientError) else None
        if after is None or after <= LONGEST_AFTER:
            raise
        explanation = f"{error}; nothing is asked there for {after / 3600:.1f} hours"
        raise errors.PermanentError(explanation, error.details) from error
