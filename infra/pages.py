"""The memory of pages that all workers share: what came last, under which validators, and who is asking now."""

import asyncio
import dataclasses
import datetime
import zlib
from typing import Literal
from uuid import UUID

from contracts import stages
from infra import database, feed_states, shared, statements

SQL = statements.load("pages")

Kind = Literal["feed", "page"]

PACKED_LIMIT = 2 * 1024 * 1024
"""Bytes of a packed body up to which it is remembered; a larger page is asked for without a condition each time."""

FEED_BODIES = 30 * feed_states.DAY
PAGES = 7 * feed_states.DAY
FEEDS = 400 * feed_states.DAY
"""Seconds without use after which the body of a feed, any other page, and what is known of a feed are forgotten."""

BATCH = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What is known after a request. ``address`` is where the page is asked for next time."""

    address: str
    moved_to: str
    moved_seen: int
    final_url: str
    etag: str
    last_modified: str
    content_type: str
    size: int
    received: int
    rest: float
    state: feed_states.State
    facts: feed_states.Facts
    error: str
    listing: bytes | None


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """A page as it is remembered, at the moment ``now`` of the database: for how many seconds more it rests, and for
    how many at most somebody else is asking for it."""

    url: str
    kind: Kind
    address: str
    moved_to: str
    moved_seen: int
    final_url: str
    etag: str
    last_modified: str
    content_type: str
    body: bytes | None
    size: int
    received: int
    first_at: datetime.datetime
    succeeded_at: datetime.datetime | None
    renewed_at: datetime.datetime | None
    listing: bytes | None
    failures: int
    failing_since: datetime.datetime | None
    fault: feed_states.Fault
    error: str
    now: datetime.datetime
    rest: float
    claimed: float

    @property
    def facts(self) -> feed_states.Facts:
        """By which a feed is judged."""
        return feed_states.Facts(
            self.first_at, self.succeeded_at, self.renewed_at, self.failures, self.failing_since, self.fault
        )

    @property
    def conditions(self) -> dict[str, str]:
        """Headers that ask for the page if it has changed (RFC 9110, section 13.1), the validators as they came."""
        if self.body is None:
            return {}
        told = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in told.items() if value}

    @property
    def rests(self) -> bool:
        """Whether what is remembered answers now, be it by a failure that is to be waited out."""
        return self.rest > 0 and (self.body is not None or self.failures > 0)

    def page(self, origin: stages.Origin, because: str = "") -> stages.Page:
        """The page with its remembered body, which must be there."""
        if self.body is None:
            raise RuntimeError(f"no body of {self.url} is remembered")
        told = {"content-type": self.content_type, "etag": self.etag, "last-modified": self.last_modified}
        headers = {name: value for name, value in told.items() if value}
        body = zlib.decompress(self.body)
        return stages.Page(self.final_url, 200, headers, body, origin=origin, because=because)

    def confirmed(self, answer: stages.Page) -> stages.Page:
        """The remembered page as a 304 completes it (RFC 9111, section 4.3.4)."""
        known = self.page("unchanged")
        headers = {**known.headers, **answer.headers, "content-type": self.content_type}
        return dataclasses.replace(known, url=answer.url, headers=headers, moved=answer.moved)


async def look(pool: database.Pool, url: str) -> Kept | None:
    """What is remembered of a page, None if nothing is."""
    async with shared.reach(pool, "pages") as connection:
        row = await connection.fetchrow(SQL["look"], url)
        return None if row is None else Kept(**row)


async def claim(pool: database.Pool, url: str, kind: Kind, holder: UUID, seconds: float) -> Kept | None:
    """Makes the holder the one who asks for the page, for so many seconds; None if somebody else is."""
    async with shared.reach(pool, "pages") as connection:
        row = await connection.fetchrow(SQL["claim"], url, kind, holder, seconds)
        return None if row is None else Kept(**row)


async def release(pool: database.Pool, url: str, holder: UUID) -> None:
    """Ends a claim of which nothing came."""
    async with shared.reach(pool, "pages") as connection:
        await connection.execute(SQL["release"], url, holder)


async def count_use(pool: database.Pool, url: str) -> None:
    """Counts a use without a request."""
    async with shared.reach(pool, "pages") as connection:
        await connection.execute(SQL["count_use"], url)


async def write(
    pool: database.Pool, url: str, holder: UUID, answer: Answer, *, sent: int, body: bytes | None = None
) -> None:
    """Writes what came of a request and ends the claim; a holder whose claim has lapsed to another writes nothing.

    ``sent`` counts the bytes that came. ``body`` replaces what is remembered, and None leaves it as it is.
    """
    facts = answer.facts
    packed = None if body is None else await asyncio.to_thread(pack, body)
    unchanged = body is None and not answer.error
    values = (
        *(answer.address, answer.moved_to, answer.moved_seen, answer.final_url),
        *(answer.etag, answer.last_modified, answer.content_type, answer.size, answer.received, answer.rest),
        *(answer.state, facts.succeeded_at, facts.renewed_at, facts.failures, facts.failing_since, facts.fault),
        *(answer.error, answer.listing, int(unchanged), sent, answer.received if unchanged else 0),
    )
    async with shared.reach(pool, "pages") as connection, connection.transaction():
        written = await connection.fetchrow(SQL["write_answer"], url, holder, *values)
        if written is not None and body is not None:
            await connection.execute(SQL["write_body"], url, packed)


def pack(body: bytes) -> bytes | None:
    """The body as it is kept, None if that is too large."""
    packed = zlib.compress(body)
    return packed if len(packed) <= PACKED_LIMIT else None


async def drop_stale(connection: database.Connection) -> None:
    """Forgets what nobody has used for long."""
    await connection.execute(SQL["drop_bodies"], FEED_BODIES, BATCH)
    await connection.execute(SQL["drop_pages"], PAGES, FEEDS, BATCH)
