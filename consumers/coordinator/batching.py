"""Micro-batches: what has arrived is settled together, and one bad message never holds up its neighbours."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from consumers.wheel import TierBuffer
from contracts import topology
from contracts.errors import FactoryError
from contracts.tiers import Tier
from infra import canary, database, faults
from infra.delivery import Delivery

T = TypeVar("T")
R = TypeVar("R")

log = structlog.get_logger()


class Intake:
    """Deliveries of several queues, taken in batches that serve the tiers by weight."""

    def __init__(self) -> None:
        self._buffer: TierBuffer[Delivery] = TierBuffer()
        self._arrived = asyncio.Event()

    def add(self, tier: Tier, delivery: Delivery) -> None:
        """Takes in a delivery."""
        self._buffer.add(tier, delivery)
        self._arrived.set()

    async def batch(self, limit: int) -> list[Delivery]:
        """Whatever has arrived, at least one delivery, and no further one once they hold ``limit`` messages."""
        while not self._buffer:
            self._arrived.clear()
            await self._arrived.wait()
        found: list[Delivery] = []
        messages = 0
        while messages < limit and (delivery := self._buffer.take()) is not None:
            found.append(delivery)
            messages += _messages(delivery)
        return found


def _messages(delivery: Delivery) -> int:
    """How many messages a delivery says that it bundles."""
    told = delivery.headers.get(topology.BUNDLED)
    return max(1, told) if isinstance(told, int) else 1


class SystemFaultError(FactoryError):
    """The fault is not in the data: nothing may be acknowledged until it is mended."""


def may_be_data(error: BaseException) -> bool:
    """Whether a single bad value could have caused this; only a commit elsewhere proves that it did."""
    if isinstance(error, database.DATA_ERRORS):
        return True
    infrastructure = (*database.UNAVAILABLE, *database.CONTENTION, database.Failure, SystemFaultError)
    return isinstance(error, Exception) and not isinstance(error, infrastructure)


async def settle(
    pool: database.Pool, items: Sequence[T], work: Callable[[Sequence[T]], Awaitable[R]]
) -> tuple[list[R], list[tuple[T, Exception]]]:
    """The results of ``work`` over all items, in as few calls as possible, and the items that no call can do.

    Raises SystemFaultError when not even a canary is written, or when the fault cannot be one of the data. That some
    items could be done proves nothing: they may have written to other tables.
    """
    results: list[R] = []
    suspects: list[tuple[T, Exception]] = []
    await _bisect(items, work, results, suspects)
    if suspects:
        try:
            async with pool.acquire() as connection:
                await canary.write(connection)
        except Exception as error:
            raise SystemFaultError(f"the database does not take what it should: {faults.told(error)}") from error
    return results, suspects


async def _bisect(
    items: Sequence[T],
    work: Callable[[Sequence[T]], Awaitable[R]],
    results: list[R],
    suspects: list[tuple[T, Exception]],
) -> None:
    try:
        results.append(await work(items))
    except Exception as error:
        if not may_be_data(error):
            raise SystemFaultError(faults.told(error)) from error
        if len(items) == 1:
            log.warning("suspect_message", error=faults.told(error))
            suspects.append((items[0], error))
            return
        half = len(items) // 2
        await _bisect(items[:half], work, results, suspects)
        await _bisect(items[half:], work, results, suspects)
