"""Sessions with the broker: what breaks anywhere is closed as a whole and begun anew, after a growing pause."""

import asyncio
import contextlib
import gc
import random
import time
from collections.abc import Awaitable, Callable, Collection

import structlog

from contracts.errors import FactoryError
from infra import database, faults
from infra.health import Health

log = structlog.get_logger()

PAUSE = 0.25
LONGEST_PAUSE = 15.0
"""Seconds; a session that lasted longer than this was a good one, and the next pause is short again."""

CANCEL_AGAIN_SECONDS = 1.0


async def repeat(session: Callable[[], Awaitable[None]], health: Health, stop: asyncio.Event) -> None:
    """Runs sessions until ``stop`` is set. A broken one leaves its reason in the health until the next is up."""
    failures = 0
    chance = random.SystemRandom()
    while not stop.is_set():
        if failures:
            # What a broken session leaves refers to itself in circles, which are seldom looked for otherwise.
            gc.collect()
        began = time.monotonic()
        try:
            await session()
        except* (FactoryError, database.Failure, *database.UNAVAILABLE) as group:
            reason = "; ".join(sorted({faults.told(error) for error in leaves(group)}))
            health.fault("session", reason)
            failures = 1 if time.monotonic() - began > LONGEST_PAUSE else failures + 1
            pause = chance.random() * min(LONGEST_PAUSE, PAUSE * 2**failures)
            log.error("session_ended", reason=reason, again_in=round(pause, 2))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await stop.wait()


async def end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancels tasks until all of them are over.

    Once is not enough: a transaction that is left by a cancellation and cannot be rolled back raises an error of the
    database in its place, and a loop that lives with such errors would go on alone, in a session that is over.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The exceptions of a group that are no groups themselves."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
