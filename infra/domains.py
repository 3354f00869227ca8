"""Turns at sites, shared by all workers: so many requests at once, so far apart, and none while a site is on hold."""

import asyncio
import contextlib
import dataclasses
import datetime
import random
import time
from collections.abc import AsyncIterator

import structlog
import yarl

from contracts import errors
from infra import database, feed_states, registrable, shared, statements

SQL = statements.load("domains")

log = structlog.get_logger()

AT_ONCE = 2
"""Requests to one domain under way at the same time, from all workers together."""

REFUSALS = frozenset({"403", "429"})
"""Statuses by which a site says that it does not want to be asked; 503 is one where it says for how long (RFC 9110,
sections 10.2.3 and 15.6.4; RFC 6585, section 4)."""

HOLD_BASE = 60.0
LONGEST_HOLD = feed_states.DAY
"""Seconds within which the first refusal that names no time is waited out, and most that a refusal can ask for."""

POLL = 0.25
"""Seconds between two looks for a turn that another worker has: what ends in another process cannot wake this one."""

_CHANCE = random.SystemRandom()


class HeldError(errors.TransientError):
    """No request was made, because the site has refused others and is on hold for longer than the worker can wait."""


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """A domain that is on hold, and why."""

    domain: str
    hold_until: datetime.datetime
    strikes: int
    reason: str


@contextlib.asynccontextmanager
async def turn(
    pool: database.Pool, target: yarl.URL, *, spacing: float, lease: float, patience: float
) -> AsyncIterator[None]:
    """Lasts for one request to the domain of this address, which is begun at once.

    Waits up to ``patience`` seconds; raises HeldError or BusyError if the turn comes later. A StageError that names a
    refusal puts the domain on hold. A turn counts for ``lease`` seconds at most if its worker dies.
    """
    domain = registrable.domain(target.host or "")
    number, strikes = await _await_turn(pool, domain, spacing, lease, time.monotonic() + patience)
    try:
        yield
    except errors.StageError as error:
        await _note(pool, domain, strikes, error)
        raise
    else:
        if strikes:
            async with shared.reach(pool, "turns") as connection:
                await connection.execute(SQL["welcome"], domain)
    finally:
        # Shielded, since a turn that is not given back keeps others waiting for as long as its lease.
        await asyncio.shield(_leave(pool, number))


async def _await_turn(pool: database.Pool, domain: str, spacing: float, lease: float, until: float) -> tuple[int, int]:
    """A turn, and how often the domain has refused in a row."""
    while True:
        async with shared.reach(pool, "turns") as connection:
            row = await connection.fetchrow(SQL["take_turn"], domain, spacing, AT_ONCE, lease)
        if row is None:
            raise RuntimeError("shared.take_turn gave no row")
        if row["turn"] is not None:
            return row["turn"], row["strikes"]
        # Those who wait for the same moment do not all come at it.
        wait = row["wait"] + _CHANCE.random() * (spacing if row["wait"] else POLL)
        if time.monotonic() + wait > until:
            if row["held"]:
                raise HeldError(f"{domain} is on hold: {row['reason']}", {"domain": domain}, after=wait)
            raise errors.BusyError(f"{domain} is asked by other workers now", {"domain": domain}, after=wait)
        await asyncio.sleep(wait)


async def _leave(pool: database.Pool, number: int) -> None:
    try:
        async with shared.reach(pool, "turns") as connection:
            await connection.execute(SQL["leave_turn"], number)
    except errors.OutageError as error:
        # It ends by itself, and what the turn was for is done.
        log.warning("turn_not_left", error=str(error))


async def _note(pool: database.Pool, domain: str, strikes: int, error: errors.StageError) -> None:
    status = error.details.get("status", "")
    after = error.after if isinstance(error, errors.TransientError) else None
    if status not in REFUSALS and not (status == "503" and after is not None):
        return
    seconds = hold_seconds(strikes, after, _CHANCE.random())
    async with shared.reach(pool, "turns") as connection:
        await connection.execute(SQL["hold"], domain, seconds, f"it answered {status}")
    log.warning("domain_held", domain=domain, status=status, seconds=round(seconds))


def hold_seconds(strikes: int, after: float | None, chance: float) -> float:
    """For how long a domain is left alone that refuses after so many refusals in a row: as it says, up to a day."""
    if after is not None:
        return min(after, LONGEST_HOLD)
    return feed_states.backoff(strikes + 1, HOLD_BASE, chance)


async def held(connection: database.Connection, limit: int = 10_000) -> list[Held]:
    """The domains that are on hold now, the longest first."""
    return [Held(**row) for row in await connection.fetch(SQL["held_domains"], limit)]


async def release(connection: database.Connection, domain: str) -> bool:
    """Forgets the hold of a domain; False if there is none."""
    return bool(await connection.fetch(SQL["release_domain"], domain))


async def drop_stale(connection: database.Connection) -> None:
    """Removes domains that nobody asks any more, and turns of dead workers."""
    await connection.execute(SQL["drop_turns"])
    await connection.execute(SQL["drop_domains"])
