"""Batches of jobs and of events: decoded, settled in the database, published, and only then acknowledged."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from consumers.coordinator import batching, facts, intake, transitions
from consumers.coordinator.batching import Intake, SystemFaultError
from consumers.coordinator.desk import Desk
from consumers.coordinator.intake import Request
from consumers.coordinator.outcome import Outcome
from contracts import encoding, messages
from contracts.errors import ErrorClass, MessageError, Reason
from contracts.messages import Message
from contracts.tiers import Tier
from infra import dead_letters, identifiers, outbox
from infra.delivery import Delivery

log = structlog.get_logger()

FAULT_PAUSE = 1.0
"""Seconds between tries while the database cannot be written; the messages stay unacknowledged meanwhile."""

JOB_BATCH = 100

COORDINATOR = "coordinator"
"""Who speaks for a task whose worker said something that cannot be stored."""

T = TypeVar("T", bound=Message)
Good = tuple[Delivery, Message]
Bad = tuple[Delivery, MessageError]

EVENTS = (messages.StageAccepted, messages.StageProgress, messages.StageCompleted, messages.StageFailed)
COMMANDS = (messages.SubmitJob, messages.CancelExecution)


async def consume(desk: Desk, queue_of: Callable[[Tier], str], prefetch: int) -> Intake:
    """Starts to consume a queue of every tier; the deliveries are taken from the returned intake."""
    arrived = Intake()
    for tier in Tier:
        await desk.incoming.consume(queue_of(tier), functools.partial(arrived.add, tier), prefetch=prefetch)
    return arrived


async def settle_events(desk: Desk, arrived: Intake) -> None:
    """Settles batches of events for ever."""

    async def work(items: Sequence[Good]) -> Outcome:
        told = [event for _, event in items if isinstance(event, facts.TaskEvent)]
        return await transitions.advance(desk.state, told)

    while True:
        batch = await arrived.batch(desk.settings.batch_size)
        good, bad = decoded(batch, EVENTS)
        await _settle(desk, batch, good, bad, work)


async def settle_jobs(desk: Desk, arrived: Intake) -> None:
    """Settles batches of jobs and of cancellations for ever."""

    async def work(items: Sequence[Good]) -> Outcome:
        return await transitions.transact(desk.state, functools.partial(_take, desk, items))

    while True:
        batch = await arrived.batch(JOB_BATCH)
        good, bad = decoded(batch, COMMANDS)
        await _settle(desk, batch, good, bad, work)
        desk.admission.set()


async def _take(desk: Desk, items: Sequence[Good], connection: transitions.Connection) -> Outcome:
    requests = [Request(command, delivery) for delivery, command in items if isinstance(command, intake.Command)]
    outcome = await intake.submit(connection, desk.state, requests, identifiers.new)
    cancelled, answers = await intake.cancellations(connection, requests)
    if cancelled:
        outcome.add(await transitions.apply(connection, desk.state, cancelled))
    outcome.owed += await outbox.insert(connection, answers)
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


async def _settle(
    desk: Desk,
    batch: Sequence[Delivery],
    good: Sequence[Good],
    bad: Sequence[Bad],
    work: Callable[[Sequence[Good]], Awaitable[Outcome]],
) -> None:
    """Settles one batch; while the system is at fault it waits and acknowledges nothing."""
    while True:
        try:
            outcomes, suspects = await batching.settle(desk.state.pool, good, work) if good else ([], [])
            poison = [(item[0], MessageError(Reason.DATA_ERROR, repr(error)[:1900])) for item, error in suspects]
            outcomes.append(await transitions.transact(desk.state, functools.partial(_set_aside, [*bad, *poison])))
            break
        except SystemFaultError as error:
            desk.health.fault("database", str(error))
            log.error("system_fault", error=str(error), held=len(batch))
            await asyncio.sleep(FAULT_PAUSE)
    desk.health.mended("database")
    for outcome in outcomes:
        await desk.deliver(outcome)
    await _fail_poisoned(desk, [(item[1], error) for item, error in suspects])
    for delivery in batch:
        await delivery.ack()


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


async def _set_aside(bad: Sequence[Bad], connection: transitions.Connection) -> Outcome:
    """Makes dead letters of messages that cannot be used, and answers those who wait for an answer."""
    answers: list[outbox.Owed] = []
    for delivery, error in bad:
        log.warning("message_set_aside", reason=error.reason, queue=delivery.queue, error=str(error))
        if delivery.reply_to is not None:
            await dead_letters.add_message(connection, intake.dead(delivery, error.reason, str(error)))
        answers += await intake.rejected(connection, delivery, error, None)
    return Outcome(owed=await outbox.insert(connection, answers))
