"""What the broker or a worker gave up: looked at, reissued if it is still wanted, else set aside for a person."""

import dataclasses
import functools

import structlog

from consumers.coordinator import intake, marks, settling, transitions
from consumers.coordinator.batching import Intake
from consumers.coordinator.desk import Desk
from consumers.coordinator.engine import facts
from consumers.coordinator.outcome import Outcome
from contracts import encoding, messages, topology
from contracts.errors import MessageError, Reason
from contracts.tiers import Tier
from infra import dead_letters, failpoints
from infra.delivery import Delivery
from infra.failpoints import Failpoint

log = structlog.get_logger()

PREFETCH = 32

TRUSTED = 2
"""Deliveries of one dead letter that may end with the death of the coordinator before it counts as its cause."""


async def consume(desk: Desk) -> Intake:
    """Starts to consume dead letters."""
    arrived = Intake()
    await desk.incoming.consume(topology.DEAD_LETTERS, lambda d: arrived.add(Tier.BASIC, d), prefetch=PREFETCH)
    return arrived


async def receive(desk: Desk, arrived: Intake) -> None:
    """Deals with dead letters for ever."""
    while True:
        for delivery in await arrived.batch(PREFETCH):
            failpoints.reach(Failpoint.DEAD_LETTER_RECEIVED)
            await _deal_with(desk, delivery)
            failpoints.reach(Failpoint.DEAD_LETTER_ACKING)
            await delivery.ack()
            failpoints.reach(Failpoint.DEAD_LETTER_ACKED)


async def _deal_with(desk: Desk, delivery: Delivery) -> None:
    if delivery.type == messages.Probe.__name__:
        await _return_probe(desk, delivery)
    elif (task := _wanted_task(delivery)) is not None:
        await desk.deliver(await transitions.advance(desk.state, [facts.TaskDied(task.key)]))
    elif not await _took_up(desk, delivery):
        await transitions.transact(desk.state, functools.partial(_set_aside, delivery, desk.incoming.user))


async def _took_up(desk: Desk, delivery: Delivery) -> bool:
    """Takes up what died with the coordinators that held it, though it was their neighbour that killed them.

    One that is here for the third time may be the killer itself.
    """
    if cause(delivery) is not Reason.DELIVERY_LIMIT or delivery.delivery_count >= TRUSTED:
        return False
    return await settling.take_up(desk, delivery)


async def _return_probe(desk: Desk, delivery: Delivery) -> None:
    """Shows the coordinator that sent a probe that rejected messages arrive here."""
    if delivery.reply_to is not None:
        failpoints.reach(Failpoint.PROBE_RETURNING)
        await desk.publisher.publish(
            "", delivery.reply_to, delivery.type or "", delivery.body, persistent=False, mandatory=False
        )
        failpoints.reach(Failpoint.PROBE_RETURNED)


def _wanted_task(delivery: Delivery) -> messages.StageTask | None:
    """The task that the broker gave up after handing it out too often; its crashes are counted elsewhere."""
    if cause(delivery) is not Reason.DELIVERY_LIMIT:
        return None
    try:
        message = encoding.decode(delivery.type, delivery.body)
    except MessageError:
        return None
    return message if isinstance(message, messages.StageTask) else None


def cause(delivery: Delivery) -> Reason:
    """Why a message is dead: what a worker said, or what the broker says."""
    told = delivery.headers.get("reason")
    if isinstance(told, str) and told in Reason.__members__.values():
        return Reason(told)
    return (
        Reason.DELIVERY_LIMIT if delivery.headers.get("x-first-death-reason") == "delivery_limit" else Reason.REJECTED
    )


async def _set_aside(delivery: Delivery, user: str, connection: transitions.Connection) -> Outcome:
    reason = cause(delivery)
    explanation = str(delivery.headers.get("explanation") or f"the broker gave it up: {reason}")
    origin = delivery.headers.get("queue") or delivery.headers.get("x-first-death-queue") or delivery.queue
    # What a worker buried it published itself, with the mark that the message had.
    known_sender = delivery if "reason" in delivery.headers else marks.restored(delivery, user)
    letter = intake.dead(known_sender, reason, explanation)
    buried = delivery.headers.get("message_id")
    known = buried if isinstance(buried, str) else letter.message_id
    await dead_letters.add_message(connection, dataclasses.replace(letter, queue=str(origin), message_id=known or None))
    log.warning("message_set_aside", reason=reason.value, queue=str(origin))
    return Outcome()
