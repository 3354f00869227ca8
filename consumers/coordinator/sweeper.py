"""What passing time makes due: admission, owed publishes, lapsed leases, housekeeping. Each loop repeats for ever.

Any number of coordinators may sweep: what two of them find at once is decided under the execution's lock.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from consumers.coordinator import admitting, batching, manifests, publishing, transitions
from consumers.coordinator.desk import Desk
from consumers.coordinator.engine import facts
from consumers.coordinator.outcome import Outcome
from contracts import encoding, messages, topology
from contracts.errors import FactoryError
from contracts.messages import TaskKey
from infra import (
    database,
    domains,
    executions,
    failpoints,
    faults,
    leases,
    memory,
    metrics,
    outbox,
    pages,
    pauses,
    shared,
    timers,
)
from infra.delivery import BrokerError
from infra.failpoints import Failpoint

log = structlog.get_logger()

LIMIT = 500
CRASH_STARTS = 5
SNAPSHOT_SECONDS = 60.0
HOUSE_SECONDS = 3600.0
NOTE_SECONDS = 0.5
"""Between two notes of what was confirmed."""

NOTE_AGE = 1.0
"""Seconds for which a task is confirmed before that is noted: most have begun by then, which proves it and needs no
note. What a coordinator that dies has not noted is published again if it still waits; the result of a copy does not
count."""

ADMISSION_PAUSE = 0.025
"""After an admission. It delays nobody who submits now and then; under load many are admitted in one transaction."""

HEARTBEAT_BACKLOG = 10

MOST_REFUSED = 3
"""Sweeps in a row whose publishes the broker confirms none of before everything is connected anew."""


async def every(desk: Desk, name: str, seconds: float, work: Callable[[Desk], Awaitable[None]]) -> None:
    """Does the work again and again; while the database is away it is noted as a fault and tried again."""
    while True:
        await attempt(desk, name, work)
        await asyncio.sleep(seconds)


async def attempt(desk: Desk, name: str, work: Callable[[Desk], Awaitable[None]]) -> None:
    """Does the work once; a fault of the database or of what it holds is noted, and mended by the next success.

    A broken connection to the broker is no such fault: it ends the session.
    """
    try:
        await work(desk)
    except BrokerError:
        raise
    except (batching.SystemFaultError, database.Failure, *database.UNAVAILABLE) as error:
        _note_fault(desk, name, error)
        await desk.state.renew()
    except FactoryError as error:
        _note_fault(desk, name, error)
    else:
        desk.health.mended(name)


def _note_fault(desk: Desk, name: str, error: BaseException) -> None:
    desk.health.fault(name, faults.told(error))
    log.error("sweep_failed", part=name, error=faults.told(error))


async def advance(desk: Desk, told: Sequence[facts.Fact]) -> int:
    """Applies what was found, and says how much of it counted.

    An execution that cannot be advanced does not hold up the others, and is found again.
    """

    async def work(items: Sequence[facts.Fact]) -> Outcome:
        return await transitions.advance(desk.state, items)

    outcomes, suspects = await batching.settle(desk.state.pool, told, work)
    for outcome in outcomes:
        await desk.deliver(outcome)
    for fact, error in suspects:
        subject = facts.execution_id(fact) if isinstance(fact, facts.ExecutionFact) else fact.key
        log.error("fact_not_applied", fact=type(fact).__name__, subject=subject, error=faults.told(error))
    return len(told) - len(suspects) - sum(outcome.ignored.total() for outcome in outcomes)


async def admit(desk: Desk) -> None:
    """Admits queued executions whenever there may be a free slot."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(desk.settings.sweep_seconds):
                await desk.admission.wait()
        desk.admission.clear()
        await attempt(desk, "admission", _admit_all)
        await asyncio.sleep(ADMISSION_PAUSE)


async def _admit_all(desk: Desk) -> None:
    more = True
    while more:
        outcome, more = await admitting.admit(desk.state, desk.settings.slots)
        await desk.deliver(outcome)


async def prepare(desk: Desk) -> None:
    """Gathers the inputs of steps that are ready, one after the other."""
    while True:
        key, parent = await desk.prepare.get()
        try:
            prepared = await manifests.prepare(desk.state, desk.store, key)
            if prepared is not None:
                outcome = await transitions.advance(desk.state, [prepared])
                await desk.deliver(outcome, {key.execution_id: parent} if parent else {})
        except (database.Failure, *database.UNAVAILABLE, FactoryError) as error:
            # The step stays ready; the sweep of unprepared steps brings it here again.
            log.error("inputs_not_gathered", step=key, error=faults.told(error))


async def sweep_owed(desk: Desk) -> None:
    """Publishes again what stayed unconfirmed, and gathers inputs that stayed ungathered."""
    # After an outage of the database much is confirmed that could not be written down; it is not owed.
    await note_published(desk, 0.0)
    async with desk.state.pool.acquire() as connection:
        owed_tasks = await leases.unpublished(connection, desk.patience.owed, LIMIT)
        if desk.prepare.empty():
            for key in await leases.unprepared(connection, LIMIT):
                desk.prepare.put_nowait((key, None))
    # What this process is still publishing is late, not lost: there is much of it.
    if keys := [key for key in owed_tasks if key not in desk.offering]:
        await _offer_again(desk, keys)
    async with desk.state.pool.acquire() as connection, connection.transaction():
        owed = await outbox.claim(connection, desk.patience.owed, LIMIT)
        failpoints.reach(Failpoint.OWED_CLAIMING)
    failpoints.reach(Failpoint.OWED_CLAIMED)
    if owed:
        await publishing.publish_owed(desk.state.pool, desk.publisher, owed)


async def _offer_again(desk: Desk, keys: Sequence[TaskKey]) -> None:
    for key in keys:
        log.warning("task_published_again", task=key)
    tasks = await transitions.republish(desk.state, keys)
    if not tasks or await desk.offer(tasks):
        desk.refused = 0
        return
    # RabbitMQ 3.10 goes on refusing on a channel that once met a full queue, though the queue is full no more.
    desk.refused += 1
    if desk.refused >= MOST_REFUSED:
        raise BrokerError(f"the broker has confirmed none of {len(tasks)} tasks, {desk.refused} times in a row")


async def note_published(desk: Desk, age: float = NOTE_AGE) -> None:
    """Writes down which tasks the broker confirmed so many seconds ago and earlier, if they have not begun."""
    now = time.monotonic()
    if keys := {key: at for key, at in desk.confirmed.items() if now - at >= age}:
        desk.confirmed = {key: at for key, at in desk.confirmed.items() if key not in keys}
        try:
            async with desk.state.pool.acquire() as connection:
                failpoints.reach(Failpoint.CONFIRMS_NOTING)
                await executions.mark_published(connection, sorted(keys))
                failpoints.reach(Failpoint.CONFIRMS_NOTED)
        except BaseException:
            desk.confirmed |= keys
            raise


async def sweep_leases(desk: Desk) -> None:
    """Reissues what silent workers held, ends what is held too long, and stops what keeps killing its workers.

    Nothing is done until heartbeats have been read without a gap for a lease period.
    """
    lease = desk.settings.lease_seconds
    waiting, _ = await desk.incoming.inspect(topology.HEARTBEATS)
    if desk.currency.seconds() < lease or waiting > HEARTBEAT_BACKLOG:
        return
    async with desk.state.pool.acquire() as connection:
        crashed = await leases.crash_looped(connection, CRASH_STARTS, lease, LIMIT)
        lapsed = await leases.lapsed(connection, lease, LIMIT)
        overdue = await leases.overdue(connection, desk.patience.overdue, LIMIT)
    told: dict[str, list[facts.Fact]] = {
        "crash_loop": [facts.CrashLooped(key, starts) for key, starts in crashed],
        "lapsed": [facts.LeaseLapsed(key, worker) for key, worker in lapsed],
        "overdue": [facts.DeadlinePassed(key) for key in overdue],
    }
    if any(told.values()):
        log.warning("leases_ended", **{reason: len(found) for reason, found in told.items()})
    for reason, found in told.items():
        if found:
            # Other coordinators find the same: what counts is what has changed something.
            metrics.LEASES_ENDED.labels(reason).inc(await advance(desk, found))


async def publish_cancels(desk: Desk) -> None:
    """Tells all workers again what was cancelled lately and which stages are paused, for those who missed it."""
    async with desk.state.pool.acquire() as connection:
        live = await leases.live_cancels(connection, topology.CONTROL_HISTORY_SECONDS, LIMIT)
        paused = await pauses.stages(connection)
    message = messages.ControlSnapshot(cancelled=tuple(live), paused_stages=paused)
    body = encoding.encode(message)
    failpoints.reach(Failpoint.SNAPSHOT_PUBLISHING)
    await desk.publisher.publish("", topology.CONTROL, type(message).__name__, body)
    failpoints.reach(Failpoint.SNAPSHOT_PUBLISHED)


async def keep_house(desk: Desk) -> None:
    """Forgets what is long gone and makes room for what comes."""
    async with desk.state.pool.acquire() as connection:
        await leases.keep_house(connection)
        await shared.drop_stale(connection)
        await memory.forget(connection)
        await pages.drop_stale(connection)
        await domains.drop_stale(connection)
        await timers.keep_house(connection)
