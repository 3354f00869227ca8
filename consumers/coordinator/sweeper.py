"""What passing time makes due: owed publishes, retries, lapsed leases, lost tasks. Each loop repeats for ever.

Any number of coordinators may sweep: what two of them find at once is decided under the execution's lock.
"""

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from consumers.coordinator import admitting, batching, facts, manifests, publishing, transitions
from consumers.coordinator.desk import Desk
from consumers.coordinator.outcome import Outcome
from contracts import encoding, messages, topology
from contracts.errors import FactoryError
from contracts.messages import TaskKey
from contracts.tiers import Tier
from infra import database, executions, leases, outbox, shared
from infra.delivery import BrokerError

log = structlog.get_logger()

LIMIT = 500
CRASH_STARTS = 5
SNAPSHOT_SECONDS = 60.0
HOUSE_SECONDS = 3600.0
HEARTBEAT_BACKLOG = 10


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
    except (FactoryError, database.Failure, *database.UNAVAILABLE) as error:
        desk.health.fault(name, repr(error))
        log.error("sweep_failed", part=name, error=repr(error))
    else:
        desk.health.mended(name)


async def _advance(desk: Desk, told: Sequence[facts.Fact]) -> None:
    """Applies what was found; an execution that cannot be advanced does not hold up the others, and is found again."""

    async def work(items: Sequence[facts.Fact]) -> Outcome:
        return await transitions.advance(desk.state, items)

    outcomes, suspects = await batching.settle(desk.state.pool, told, work)
    for outcome in outcomes:
        await desk.deliver(outcome)
    for fact, error in suspects:
        log.error("fact_not_applied", fact=repr(fact), error=repr(error))


async def admit(desk: Desk) -> None:
    """Admits queued executions whenever there may be a free slot."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(desk.settings.sweep_seconds):
                await desk.admission.wait()
        desk.admission.clear()
        await attempt(desk, "admission", _admit_all)


async def _admit_all(desk: Desk) -> None:
    more = True
    while more:
        outcome, more = await admitting.admit(desk.state, desk.settings.slots)
        await desk.deliver(outcome)


async def retry(desk: Desk) -> None:
    """Offers waiting rows again as soon as their delay is over."""
    while True:
        await attempt(desk, "retries", _retry_due)
        pause = await _until_next_retry(desk)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await desk.retries.wait()
        desk.retries.clear()


async def _retry_due(desk: Desk) -> None:
    async with desk.state.pool.acquire() as connection:
        due = await leases.retries_due(connection, LIMIT)
    if due:
        await _advance(desk, [facts.RetryDue(key) for key in due])


async def _until_next_retry(desk: Desk) -> float:
    try:
        async with desk.state.pool.acquire() as connection:
            seconds = await leases.seconds_to_next_retry(connection)
    except (database.Failure, *database.UNAVAILABLE):
        return desk.settings.sweep_seconds  # the failure itself was noted by the attempt before
    return desk.settings.sweep_seconds if seconds is None else min(max(seconds, 0.01), desk.settings.sweep_seconds)


async def prepare(desk: Desk) -> None:
    """Gathers the inputs of steps that are ready, one after the other."""
    while True:
        key = await desk.prepare.get()
        try:
            prepared = await manifests.prepare(desk.state, desk.store, key)
            if prepared is not None:
                await desk.deliver(await transitions.advance(desk.state, [prepared]))
        except (database.Failure, *database.UNAVAILABLE, FactoryError) as error:
            # The step stays ready; the sweep of unprepared steps brings it here again.
            log.error("inputs_not_gathered", step=key, error=repr(error))


async def sweep_owed(desk: Desk) -> None:
    """Publishes again what stayed unconfirmed, and gathers inputs that stayed ungathered."""
    async with desk.state.pool.acquire() as connection:
        keys = await leases.unpublished(connection, desk.patience.owed, LIMIT)
        if desk.prepare.empty():
            for key in await leases.unprepared(connection, LIMIT):
                desk.prepare.put_nowait(key)
    for key in keys:
        log.warning("task_published_again", task=key)
    if keys:
        tasks = await transitions.republish(desk.state, keys)
        desk.confirmed += await publishing.publish_tasks(desk.publisher, tasks, {})
    async with desk.state.pool.acquire() as connection, connection.transaction():
        owed = await outbox.claim(connection, desk.patience.owed, LIMIT)
    if owed:
        await publishing.publish_owed(desk.state.pool, desk.publisher, owed)


async def note_published(desk: Desk) -> None:
    """Writes down which tasks the broker has confirmed."""
    if desk.confirmed:
        keys, desk.confirmed = desk.confirmed, []
        try:
            async with desk.state.pool.acquire() as connection:
                await executions.mark_published(connection, sorted(keys))
        except BaseException:
            desk.confirmed += keys
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
    told: list[facts.Fact] = [facts.CrashLooped(key, starts) for key, starts in crashed]
    told += [facts.LeaseLapsed(key, worker) for key, worker in lapsed]
    told += [facts.DeadlinePassed(key) for key in overdue]
    if told:
        log.warning("leases_ended", crashed=len(crashed), lapsed=len(lapsed), overdue=len(overdue))
        await _advance(desk, told)


class LostTasks:
    """Finds tasks that were published, that no worker holds, and that their queue does not have any more."""

    def __init__(self) -> None:
        self._empty_since: dict[str, datetime.datetime] = {}

    async def sweep(self, desk: Desk) -> None:
        """Reissues lost tasks. Nothing is done until heartbeats have been read without a gap for a lease period."""
        if desk.currency.seconds() < desk.settings.lease_seconds:
            return
        async with desk.state.pool.acquire() as connection:
            now = await leases.now(connection)
            unheld = await leases.unheld(connection, desk.patience.unheld, LIMIT)
        queues = {(item.stage, item.tier) for item in unheld}
        emptied = {queue: await self._empty(desk, *queue, now) for queue in sorted(queues)}
        lost: list[TaskKey] = []
        for item in unheld:
            overtaken = desk.evidence.until(item.stage, item.tier)
            empty = emptied[item.stage, item.tier]
            if any(moment is not None and item.published_at < moment for moment in (overtaken, empty)):
                lost.append(item.key)
        if lost:
            log.warning("tasks_lost", tasks=len(lost), first=lost[0])
            await _advance(desk, [facts.TaskLost(key) for key in lost])

    async def _empty(self, desk: Desk, stage: str, tier: Tier, now: datetime.datetime) -> datetime.datetime | None:
        """Since when the queue has been seen empty, if it was seen so twice, long enough apart."""
        queue = topology.stage_queue(stage, tier)
        waiting, _ = await desk.incoming.inspect(queue)
        if waiting:
            self._empty_since.pop(queue, None)
            return None
        since = self._empty_since.setdefault(queue, now)
        return since if now - since >= datetime.timedelta(seconds=desk.patience.empty) else None


async def publish_cancels(desk: Desk) -> None:
    """Tells all workers again what was cancelled lately, for those who missed it."""
    async with desk.state.pool.acquire() as connection:
        live = await leases.live_cancels(connection, topology.CONTROL_HISTORY_SECONDS, LIMIT)
    message = messages.ControlSnapshot(cancelled=tuple(live))
    body = encoding.encode(message)
    await desk.publisher.publish("", topology.CONTROL, type(message).__name__, body)


async def keep_house(desk: Desk) -> None:
    """Forgets what is long gone and makes room for what comes."""
    async with desk.state.pool.acquire() as connection:
        await leases.keep_house(connection)
        await shared.drop_stale(connection)
