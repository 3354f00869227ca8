"""What is over for longer than it is to be kept is removed, little by little, by one coordinator at a time."""

import asyncio
import time

import structlog

from consumers.coordinator import sweeper
from consumers.coordinator.desk import Desk
from infra import database, retention

log = structlog.get_logger()

PART = "retention"
DAY = 86_400.0
SECONDS = 3600.0
"""Between two passes."""

AGAIN_SECONDS = 60.0
"""Before a pass that failed is tried again."""

SHORTEST_REST = 0.1
RESTS = 9.0
"""After each batch so many times as long as it has taken, so that removal has a tenth of one connection's time."""


async def run(desk: Desk) -> None:
    """A pass now and then one each hour, for ever."""
    while True:
        await sweeper.attempt(desk, PART, _remove)
        await asyncio.sleep(AGAIN_SECONDS if PART in desk.health.faults else SECONDS)


async def _remove(desk: Desk) -> None:
    await remove(desk.state.pool, desk.settings.retention_days)


async def remove(pool: database.Pool, days: int) -> None:
    """One pass over everything that was over so many days ago; with 0 everything is kept for ever."""
    if not days:
        return
    seconds = days * DAY
    executions = await _executions(pool, seconds)
    letters = await _letters(pool, seconds)
    months = []
    while (month := await retention.month(pool, seconds)) is not None:
        months.append(month)
    if executions or letters or months:
        log.info("old_removed", executions=executions, dead_letters=letters, months=months)


async def _executions(pool: database.Pool, seconds: float) -> int:
    removed, place = 0, retention.BEGINNING
    while True:
        began = time.monotonic()
        batch = await retention.executions(pool, seconds, place)
        if batch.place is None:
            return removed
        removed, place = removed + batch.executions, batch.place
        await _rest(began)


async def _letters(pool: database.Pool, seconds: float) -> int:
    removed = 0
    while True:
        began = time.monotonic()
        batch = await retention.rest(pool, seconds)
        removed += batch
        if batch < retention.BATCH:
            return removed
        await _rest(began)


async def _rest(began: float) -> None:
    await asyncio.sleep(max(SHORTEST_REST, RESTS * (time.monotonic() - began)))
