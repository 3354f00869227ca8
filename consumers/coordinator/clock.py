"""The clock of the coordinator: timers that are due become facts, schedules that are due become jobs.

Any number of coordinators may read the same timer: what it stands for is decided under the execution's lock.
"""

import asyncio
import functools
from collections.abc import Sequence
from contextlib import suppress

import structlog

from consumers.coordinator import batching, scheduler, sweeper, transitions
from consumers.coordinator.desk import Desk
from consumers.coordinator.engine import facts
from consumers.coordinator.outcome import Outcome
from contracts.states import PauseReason
from infra import database, faults, timers
from infra.timers import Timer

log = structlog.get_logger()

PART = "timers"
LIMIT = 500
SHORTEST_PAUSE = 0.01
AGAIN_SECONDS = 60.0
"""Before a timer whose fact cannot be applied is tried again."""


async def run(desk: Desk) -> None:
    """Sees to timers as soon as they are due, for ever."""
    while True:
        await sweeper.attempt(desk, PART, see_to_due)
        pause = await _until_next(desk)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await desk.retries.wait()
        desk.retries.clear()


async def see_to_due(desk: Desk) -> None:
    """Sees to what is due now."""
    async with desk.state.pool.acquire() as connection:
        due = await timers.due(connection, LIMIT)
    told = [timer for timer in due if timer.kind != "schedule"]
    if told:
        await _tell(desk, told)
    for timer in due:
        if timer.kind == "schedule":
            await scheduler.run_due(desk.state, timer)
            desk.admission.set()


async def _tell(desk: Desk, due: Sequence[Timer]) -> None:
    async def work(items: Sequence[Timer]) -> Outcome:
        return await transitions.transact(desk.state, functools.partial(_apply, desk.state, items))

    outcomes, suspects = await batching.settle(desk.state.pool, due, work)
    for outcome in outcomes:
        await desk.deliver(outcome)
    for timer, error in suspects:
        log.error("timer_not_applied", kind=timer.kind, subject=timer.subject, error=faults.told(error))
    if suspects:
        async with desk.state.pool.acquire() as connection:
            await timers.postpone(connection, [timer for timer, _ in suspects], AGAIN_SECONDS)
    if any(timer.kind == "delay" for timer in due):
        desk.admission.set()


async def _apply(state: transitions.State, due: Sequence[Timer], connection: transitions.Connection) -> Outcome:
    outcome = await transitions.apply(connection, state, [_fact(timer) for timer in due])
    # What the facts have set again meanwhile, under the same name, has another time and stays.
    await timers.done(connection, due)
    return outcome


def _fact(timer: Timer) -> facts.Fact:
    if timer.key is not None:
        return facts.RetryDue(timer.key)
    if timer.execution_id is None:
        raise ValueError(f"timer {timer.kind} of {timer.subject} names no execution")
    if timer.kind == "delay":
        return facts.Resumed(timer.execution_id, PauseReason.DELAY)
    return facts.TimeUp(timer.execution_id)


async def _until_next(desk: Desk) -> float:
    """Seconds to wait; while the database is at fault, what is due is not asked for again at once."""
    longest = desk.settings.sweep_seconds
    if PART in desk.health.faults:
        return longest
    try:
        async with desk.state.pool.acquire() as connection:
            seconds = await timers.seconds_to_next(connection)
    except (database.Failure, *database.UNAVAILABLE):
        return longest  # the next look at what is due meets the same failure, and notes it
    return longest if seconds is None else min(max(seconds, SHORTEST_PAUSE), longest)
