"""Batches of jobs and of events: decoded, settled in the database, published, and only then acknowledged."""

import asyncio
import collections
import dataclasses
import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

import structlog

from consumers.coordinator import batching, bundles, intake, marks, measures, shortcut, steering, traces, transitions
from consumers.coordinator.batching import Intake, SystemFaultError
from consumers.coordinator.desk import Desk
from consumers.coordinator.engine import facts
from consumers.coordinator.intake import Request
from consumers.coordinator.outcome import Outcome
from consumers.coordinator.traces import Parents
from contracts import encoding, messages, topology
from contracts.bundles import TasksEnded
from contracts.errors import ErrorClass, MessageError, Reason
from contracts.messages import Message
from contracts.steering import CancelExecution, SetPause, SteerExecution
from contracts.tiers import Tier
from infra import database, dead_letters, dead_operations, failpoints, faults, identifiers, outbox
from infra.delivery import Delivery
from infra.failpoints import Failpoint

log = structlog.get_logger()

FAULT_PAUSE = 1.0
"""Seconds between tries while the database cannot be written; the messages stay unacknowledged meanwhile."""

JOB_BATCH = 100

OVERLAP = 4
"""Batches of events that may be committed and not yet acknowledged."""

_JOBS = frozenset(topology.jobs_queue(tier) for tier in Tier)

COORDINATOR = "coordinator"
"""Who speaks for a task whose worker said something that cannot be stored."""

T = TypeVar("T", bound=Message)
Good = tuple[Delivery, Message]
Bad = tuple[Delivery, MessageError]

EVENTS = (
    messages.StageAccepted,
    messages.StageProgress,
    messages.StageCompleted,
    messages.StageFailed,
    TasksEnded,
)
COMMANDS = (messages.SubmitJob, CancelExecution, SteerExecution, SetPause)


async def consume(desk: Desk, queue_of: Callable[[Tier], str], prefetch: int) -> Intake:
    """Starts to consume a queue of every tier; the deliveries are taken from the returned intake."""
    arrived = Intake()
    for tier in Tier:
        await desk.incoming.consume(queue_of(tier), functools.partial(arrived.add, tier), prefetch=prefetch)
    return arrived


async def settle_events(desk: Desk, arrived: Intake) -> None:
    """Settles batches of events for ever; the next one is committed while this one's tasks await their confirms."""
    work = functools.partial(_advance, desk)
    room = asyncio.Semaphore(OVERLAP)
    async with asyncio.TaskGroup() as group:
        while True:
            await room.acquire()
            batch = await arrived.batch(desk.settings.batch_size)
            began = time.monotonic()
            failpoints.reach(Failpoint.EVENTS_RECEIVED)
            good, bad = bundles.opened(*decoded(batch, EVENTS))
            failpoints.reach(Failpoint.EVENTS_DECODED)
            outcome, left = await _shorten(desk, good)
            desk.note(outcome)
            ahead = group.create_task(desk.send(outcome, traces.settled([outcome], good, began)))
            committed = await _commit(desk, "events", batch, left, bad, work)
            measures.batch("events", len(batch), time.monotonic() - began)
            measures.ways(len(good) - len(left), len(left))
            parents = traces.settled(committed.outcomes, left, began)
            hop = began if any(found.tasks for found in (outcome, *committed.outcomes)) else None
            finishing = group.create_task(_finish(desk, committed, parents, ahead, hop))
            finishing.add_done_callback(lambda _: room.release())


async def _shorten(desk: Desk, good: Sequence[Good]) -> tuple[Outcome, list[Good]]:
    """Settles what it can the short way; returns what that came to, and what is left for the long way."""
    told = [event for _, event in good if isinstance(event, facts.TaskEvent)]
    try:
        outcome, settled = await shortcut.settle(desk.state, told)
    except (database.Failure, *database.UNAVAILABLE) as error:
        # The long way meets the same fault, if it lasts, and finds out whose it is.
        log.info("shortcut_failed", error=faults.told(error))
        return Outcome(), list(good)
    except Exception:
        log.exception("shortcut_failed")
        return Outcome(), list(good)
    return outcome, [item for item in good if _execution(item[1]) not in settled]


def _execution(message: Message) -> UUID | None:
    return message.execution_id if isinstance(message, messages.TaskMessage) else None


async def settle_jobs(desk: Desk, arrived: Intake) -> None:
    """Settles batches of commands for ever."""
    work = functools.partial(_obey, desk)
    while True:
        batch = [marks.restored(delivery, desk.incoming.user) for delivery in await arrived.batch(JOB_BATCH)]
        began = time.monotonic()
        failpoints.reach(Failpoint.JOBS_RECEIVED)
        good, bad = decoded(batch, COMMANDS)
        good, spans = traces.accepting(good)
        failpoints.reach(Failpoint.JOBS_DECODED)
        committed = await _commit(desk, "jobs", batch, good, bad, work)
        traces.accepted(spans, committed.outcomes)
        measures.batch("jobs", len(batch), time.monotonic() - began)
        await _finish(desk, committed)
        desk.admission.set()
        if any(isinstance(command, SetPause) for _, command in good):
            desk.pauses.set()


async def take_up(desk: Desk, delivery: Delivery) -> bool:
    """Settles an event or a command that came here by another way than its queue.

    False if it is none, or if anything in it is bad: what is good in it is settled, and told again it does not count.
    """
    good, bad = bundles.opened(*decoded([marks.restored(delivery, desk.incoming.user)], (*EVENTS, *COMMANDS)))
    if not good:
        return False
    good, spans = traces.accepting(good)
    work = _advance if isinstance(good[0][1], facts.TaskEvent) else _obey
    outcomes: Sequence[Outcome] = ()
    try:
        outcomes, suspects = await batching.settle(desk.state.pool, good, functools.partial(work, desk))
    finally:
        traces.accepted(spans, outcomes)
    for outcome in outcomes:
        await desk.deliver(outcome)
    desk.admission.set()
    return not suspects and not bad


async def _advance(desk: Desk, items: Sequence[Good]) -> Outcome:
    return await transitions.advance(desk.state, [event for _, event in items if isinstance(event, facts.TaskEvent)])


async def _obey(desk: Desk, items: Sequence[Good]) -> Outcome:
    return await transitions.transact(desk.state, functools.partial(_take, desk, items))


async def _take(desk: Desk, items: Sequence[Good], connection: transitions.Connection) -> Outcome:
    requests = [Request(command, delivery) for delivery, command in items if isinstance(command, intake.Command)]
    outcome = await intake.submit(connection, desk.state, requests, identifiers.new)
    cancelled, answers = await intake.cancellations(connection, requests)
    if cancelled:
        outcome.add(await transitions.apply(connection, desk.state, cancelled))
    outcome.owed += await outbox.insert(connection, answers)
    outcome.add(await steering.steer(connection, desk.state, requests))
    return outcome


def decoded(batch: Sequence[Delivery], wanted: tuple[type[T], ...]) -> tuple[list[tuple[Delivery, T]], list[Bad]]:
    """The messages of the wanted types, and the deliveries that hold none, with the reason."""
    good: list[tuple[Delivery, T]] = []
    bad: list[Bad] = []
    for delivery in batch:
        try:
            message = encoding.decode(delivery.type, delivery.body)
            if not isinstance(message, wanted):
                names = ", ".join(model.__name__ for model in wanted)
                raise MessageError(
                    Reason.UNKNOWN_TYPE, f"property 'type' is '{delivery.type}'; this queue takes {names}"
                )
            good.append((delivery, message))
        except MessageError as error:
            bad.append((delivery, error))
    return good, bad


@dataclasses.dataclass(frozen=True, slots=True)
class Committed:
    """A batch that is in the database: what it came to, and the messages that no database takes."""

    batch: Sequence[Delivery]
    outcomes: Sequence[Outcome]
    suspects: Sequence[tuple[Good, Exception]]


async def _commit(
    desk: Desk,
    part: str,
    batch: Sequence[Delivery],
    good: Sequence[Good],
    bad: Sequence[Bad],
    work: Callable[[Sequence[Good]], Awaitable[Outcome]],
) -> Committed:
    """Commits one batch; while the system is at fault it says so, waits and acknowledges nothing."""
    while True:
        try:
            outcomes, suspects = await batching.settle(desk.state.pool, good, work) if good else ([], [])
            poison = [
                (bundles.alone(*item), MessageError(Reason.DATA_ERROR, repr(error)[:1900])) for item, error in suspects
            ]
            aside = functools.partial(_set_aside, batch, [*bad, *poison])
            if bad or poison or any(marks.letter(delivery) is not None for delivery in batch):
                outcomes.append(await transitions.transact(desk.state, aside))
            break
        except (SystemFaultError, database.Failure, *database.UNAVAILABLE) as error:
            reason = faults.told(error)
            desk.health.fault(part, reason)
            log.error("system_fault", part=part, error=reason, held=len(batch))
            await desk.state.renew()
            await asyncio.sleep(FAULT_PAUSE)
    desk.health.mended(part)
    failpoints.reach(Failpoint.BATCH_COMMITTED)
    # In the order of the commits, whichever batch is published first: watchers must not be told of the past.
    for outcome in outcomes:
        desk.note(outcome)
    return Committed(batch, outcomes, suspects)


async def _finish(
    desk: Desk,
    committed: Committed,
    parents: Parents = traces.NONE,
    ahead: Awaitable[None] | None = None,
    hop: float | None = None,
) -> None:
    """Publishes what a committed batch owes, and only then acknowledges it.

    ``ahead`` is what is being published, ``hop`` when events were taken to which tasks follow, ``parents`` their spans.
    """
    for outcome in committed.outcomes:
        await desk.send(outcome, parents)
    if ahead is not None:
        await ahead
    if hop is not None:
        measures.hop(time.monotonic() - hop)
    failpoints.reach(Failpoint.BATCH_DELIVERED)
    await _fail_poisoned(desk, [(item[1], error) for item, error in committed.suspects])
    for delivery in committed.batch:
        failpoints.reach(Failpoint.BATCH_ACKING)
        await delivery.ack()
    failpoints.reach(Failpoint.BATCH_ACKED)


async def _fail_poisoned(desk: Desk, suspects: Sequence[tuple[Message, Exception]]) -> None:
    """Fails the tasks whose events cannot be stored; otherwise they would be taken for lost and done again for ever."""

    async def work(items: Sequence[facts.Fact]) -> Outcome:
        return await transitions.advance(desk.state, items)

    told = [
        messages.StageFailed(
            **message.key._asdict(),
            worker=COORDINATOR,
            error_class=ErrorClass.PERMANENT,
            explanation=f"its event cannot be stored: {error!r}"[:1000],
        )
        for message, error in suspects
        if isinstance(message, messages.TaskMessage)
    ]
    if told:
        outcomes, _ = await batching.settle(desk.state.pool, told, work)
        for outcome in outcomes:
            await desk.deliver(outcome)


async def _set_aside(batch: Sequence[Delivery], bad: Sequence[Bad], connection: transitions.Connection) -> Outcome:
    """Makes dead letters of messages that cannot be used, and answers those who wait for an answer."""
    if requeued := [letter for delivery in batch if (letter := marks.letter(delivery)) is not None]:
        await dead_operations.landed(connection, requeued)
    answers: list[outbox.Owed] = []
    rejected: collections.Counter[str] = collections.Counter()
    for delivery, error in bad:
        rejected["rejected"] += delivery.queue in _JOBS
        log.warning("message_set_aside", reason=error.reason.value, queue=delivery.queue)
        if delivery.reply_to is not None:
            await dead_letters.add_message(connection, intake.dead(delivery, error.reason, str(error)))
        answers += await intake.rejected(connection, delivery, error, None)
    return Outcome(owed=await outbox.insert(connection, answers), answered=rejected)
