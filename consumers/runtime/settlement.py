"""The life of one delivery: it ends completed, failed or refused, and never otherwise."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from consumers.handlers import Handler
from consumers.runtime import work
from consumers.runtime.context import key_text
from consumers.runtime.control import Control
from consumers.runtime.desk import Desk, Held
from consumers.runtime.equipment import Equipment
from consumers.runtime.supply import Offer
from contracts import messages
from contracts.messages import StageAccepted, StageProgress
from infra import failpoints
from infra.failpoints import Failpoint

log = structlog.get_logger()

CANCEL_SECONDS = 5.0
"""How long a stage may take to notice that it is cancelled before it is left to itself."""

ACCEPT_AFTER = 0.2
"""Seconds after which the coordinator is told that the work has begun; shorter work tells only its outcome."""


async def handle(
    desk: Desk, control: Control, equipment: Equipment, handler: Handler, offer: Offer, worked: Callable[[], None]
) -> None:
    """Does the task and settles its delivery; returns when the delivery is settled. Calls ``worked`` when all that is
    left is to tell how the work ended and to wait for the confirm."""
    task = offer.task
    if control.is_cancelled(task.key) or desk.knows(task.key):
        await _refuse(offer, "cancelled" if control.is_cancelled(task.key) else "copy")
        return
    held = desk.running[task.key] = Held(task, handler.spec.typical_seconds)
    try:
        # Only confirmed starts count towards a crash loop, and what ended its worker comes back as a further attempt
        # where its lease lapses before a worker is there again.
        if offer.delivery.redelivered or task.attempt > 1:
            await _accept(desk, held, offer)
        ended = await _attempt(desk, equipment, handler, held, offer)
        if ended is None:
            await _refuse(offer, "cancelled")
            told = held.cancelled_at or held.since
            log.info("task_stopped", task=key_text(task.key), after=round(time.monotonic() - told, 3))
        else:
            worked()
            await _outlive_cancellation(_settle(desk, held, offer, ended))
    finally:
        del desk.running[task.key]


async def _attempt(
    desk: Desk, equipment: Equipment, handler: Handler, held: Held, offer: Offer
) -> work.Ended | None:
    """How the attempt ended, None if the execution was cancelled meanwhile."""
    report = _reporter(desk, held, offer)
    attempt = work.attempt(equipment, handler.spec, handler.run, held.task, desk.worker, report)
    held.attempt = asyncio.create_task(attempt)
    announcement = Announcement(lambda: _accept(desk, held, offer))
    try:
        return await held.attempt
    except asyncio.CancelledError:
        if held.cancelled_at is not None and held.attempt.cancelled():
            return None
        held.attempt.cancel()
        await asyncio.wait([held.attempt], timeout=CANCEL_SECONDS)
        raise
    finally:
        await announcement.end()


def _reporter(desk: Desk, held: Held, offer: Offer) -> Callable[[float, str], Awaitable[None]]:
    async def report(fraction: float, note: str) -> None:
        await _accept(desk, held, offer)
        task = held.task
        event = StageProgress(**task.key._asdict(), worker=desk.worker, fraction=fraction, note=note)
        await desk.tell(task.context.tier, event, offer.delivery.traceparent)

    return report


class Announcement:
    """Tells that the work has begun, once it has lasted long enough; short work costs a timer and no task."""

    def __init__(self, accept: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._accept = accept
        self._telling: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(ACCEPT_AFTER, self._tell)

    def _tell(self) -> None:
        self._telling = asyncio.create_task(self._accept())

    async def end(self) -> None:
        """The work is over: what was not told yet is not told any more."""
        self._timer.cancel()
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)


async def _accept(desk: Desk, held: Held, offer: Offer) -> None:
    """Tells once that this worker has begun."""
    if held.accepted:
        return
    held.accepted = True
    event = StageAccepted(
        **held.task.key._asdict(),
        worker=desk.worker,
        redelivered=offer.delivery.redelivered,
        estimate=held.estimate,
    )
    await desk.tell(held.task.context.tier, event, offer.delivery.traceparent)


async def _settle(desk: Desk, held: Held, offer: Offer, ended: work.Ended) -> None:
    """The event first, confirmed; only then the acknowledgement."""
    await desk.tell(held.task.context.tier, ended.event, offer.delivery.traceparent, ended.body)
    desk.settled(held.task.key)
    failpoints.reach(Failpoint.TASK_ACKING)
    await offer.delivery.ack()
    failpoints.reach(Failpoint.TASK_ACKED)
    _note(held, ended.event)


def _note(held: Held, event: work.Event) -> None:
    failed = isinstance(event, messages.StageFailed)
    if not failed and not log.is_enabled_for(logging.DEBUG):
        # A line for each of a thousand tasks a second would cost more than the tasks.
        return
    told = {
        "stage": held.task.stage,
        "task": key_text(held.task.key),
        "client": held.task.context.client,
        "seconds": round(time.monotonic() - held.since, 3),
    }
    if isinstance(event, messages.StageFailed):
        log.info("task_failed", error_class=event.error_class, error=event.explanation, **told)
    else:
        log.debug("task_completed", **told)


async def _refuse(offer: Offer, reason: str) -> None:
    failpoints.reach(Failpoint.REFUSAL_ACKING)
    await offer.delivery.ack()
    failpoints.reach(Failpoint.REFUSAL_ACKED)
    log.info("task_refused", reason=reason, stage=offer.task.stage, task=key_text(offer.task.key))


async def _outlive_cancellation(settling: Coroutine[Any, Any, None]) -> None:
    """What is done is told, also when the worker is being stopped meanwhile."""
    task = asyncio.create_task(settling)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
