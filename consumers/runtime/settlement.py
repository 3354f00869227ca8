"""The life of one delivery: it ends completed, failed or refused, and never otherwise."""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from consumers.handlers import Handler
from consumers.runtime import traces, work
from consumers.runtime.control import Control
from consumers.runtime.desk import Desk, Held
from consumers.runtime.equipment import Equipment
from consumers.runtime.supply import Offer
from contracts import messages
from contracts.messages import StageAccepted, StageProgress
from contracts.stages import ACCEPT_AFTER
from infra import failpoints, metrics, tracing
from infra.failpoints import Failpoint
from infra.registries import Histogram
from infra.tracing import Span

log = structlog.get_logger()

CANCEL_SECONDS = 5.0
"""How long a stage may take to notice that it is cancelled before it is left to itself."""

async def handle(
    desk: Desk, control: Control, equipment: Equipment, handler: Handler, offer: Offer, worked: Callable[[], None]
) -> None:
    """Does the task and settles its delivery; returns when the delivery is settled. Calls ``worked`` when all that is
    left is to tell how the work ended and to wait for the confirm."""
    with traces.work(offer, desk.worker) as span:
        await _handle(desk, control, equipment, handler, offer, worked, span)


async def _handle(
    desk: Desk,
    control: Control,
    equipment: Equipment,
    handler: Handler,
    offer: Offer,
    worked: Callable[[], None],
    span: Span,
) -> None:
    task, given = offer.task, offer.delivery.traceparent
    held = Held(task, handler.spec.typical_seconds, span.traceparent or given)
    if control.is_cancelled(task.key) or desk.knows(task.key):
        await _refuse(held, offer, "cancelled" if control.is_cancelled(task.key) else "copy", span)
        return
    desk.running[task.key] = held
    try:
        # Only confirmed starts count towards a crash loop, and what ended its worker comes back as a further attempt
        # where its lease lapses before a worker is there again.
        if offer.delivery.redelivered or task.attempt > 1:
            await _accept(desk, held, offer)
        ended = await _attempt(desk, equipment, handler, held, offer)
        if ended is None:
            await _refuse(held, offer, "cancelled", span)
        else:
            worked()
            await _outlive_cancellation(_settle(desk, held, offer, ended, span))
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
        await desk.tell(task.context.tier, event, held.traceparent)

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
    await desk.tell(held.task.context.tier, event, held.traceparent)


async def _settle(desk: Desk, held: Held, offer: Offer, ended: work.Ended, span: Span) -> None:
    """The event first, confirmed; only then the acknowledgement."""
    await desk.tell(held.task.context.tier, ended.event, held.traceparent, ended.body)
    desk.settled(held.task.key)
    failpoints.reach(Failpoint.TASK_ACKING)
    await offer.delivery.ack()
    failpoints.reach(Failpoint.TASK_ACKED)
    outcome = ended.event.error_class.value if isinstance(ended.event, messages.StageFailed) else "completed"
    _measure(held, ended.event, outcome)
    if outcome != "completed":
        span.fail(outcome)
    _note(held, outcome, quiet=outcome == "completed" and not desk.log_completed)


def _measure(held: Held, event: work.Event, outcome: str) -> None:
    task = held.task
    _task_seconds(task.stage, task.context.tier.value, outcome).observe(event.metrics.get("seconds", 0.0))


@functools.cache
def _task_seconds(stage: str, tier: str, outcome: str) -> Histogram:
    """Kept, since to find a labelled metric takes longer than to count with it."""
    return metrics.TASK_SECONDS.labels(stage, tier, outcome)


def _note(held: Held, outcome: str, *, quiet: bool = False, **more: float) -> None:
    """The line of a settlement. Why an attempt failed stands in the step's row: it may quote what was read."""
    level = logging.DEBUG if quiet else logging.INFO
    if not log.is_enabled_for(level):
        return
    task, context = held.task, held.task.context
    log.log(
        level,
        "task_settled",
        outcome=outcome,
        stage=task.stage,
        execution=str(task.execution_id),
        step=task.step,
        shard=task.shard,
        attempt=task.attempt,
        epoch=task.epoch,
        trace=tracing.trace_id(held.traceparent),
        client=context.client,
        tier=context.tier.value,
        seconds=round(time.monotonic() - held.since, 3),
        **more,
    )


async def _refuse(held: Held, offer: Offer, reason: str, span: Span) -> None:
    failpoints.reach(Failpoint.REFUSAL_ACKING)
    await offer.delivery.ack()
    failpoints.reach(Failpoint.REFUSAL_ACKED)
    metrics.REFUSED.labels(offer.task.stage, reason).inc()
    span.note({"factory.refused": reason})
    if held.cancelled_at is None:
        _note(held, reason)
    else:
        # How long its stage took to let go of it.
        _note(held, reason, stopped_after=round(time.monotonic() - held.cancelled_at, 3))


async def _outlive_cancellation(settling: Coroutine[Any, Any, None]) -> None:
    """What is done is told, also when the worker is being stopped meanwhile."""
    task = asyncio.create_task(settling)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
