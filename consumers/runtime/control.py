"""What every worker is told at once: cancelled executions, and who is to drain. An hour of it is read at start."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

import structlog

from contracts import encoding, messages, topology
from contracts.errors import MessageError
from contracts.messages import TaskKey
from infra import failpoints
from infra.broker import Connection
from infra.delivery import BrokerError, Delivery
from infra.failpoints import Failpoint

log = structlog.get_logger()

REMEMBERED = 100_000
"""Cancelled executions kept in memory, the latest ones; a task of an older one is refused by the coordinator."""

PREFETCH = 100

Steps = tuple[str, ...]
"""The steps that a cancellation is about; none named means all."""


class Control:
    """Which work is wanted no more."""

    def __init__(
        self,
        worker: str,
        stop: Callable[[], None],
        cancel: Callable[[UUID, int, Steps], None],
        pause: Callable[[frozenset[str]], None],
    ) -> None:
        """``stop`` is called when this worker is to drain, ``cancel`` with each execution of which work up to an epoch
        is cancelled and the steps that this is about, ``pause`` with all stages that are paused."""
        self._worker = worker
        self._stop = stop
        self._cancel = cancel
        self._pause = pause
        self._cancelled: OrderedDict[tuple[UUID, str | None], int] = OrderedDict()

    def is_cancelled(self, key: TaskKey) -> bool:
        """Whether the task belongs to cancelled work."""
        whole = self._cancelled.get((key.execution_id, None), 0)
        return key.epoch <= max(whole, self._cancelled.get((key.execution_id, key.step), 0))

    def tell(self, message: messages.Message) -> None:
        """Takes in a control message."""
        match message:
            case messages.CancelWork(execution_id=execution_id, epoch=epoch, steps=steps):
                self._note(execution_id, epoch, steps)
            case messages.ControlSnapshot(cancelled=cancelled, paused_stages=paused):
                for execution_id, epoch in cancelled:
                    self._note(execution_id, epoch, ())
                self._pause(frozenset(paused))
            case messages.DrainWorker(worker=worker) if worker == self._worker:
                self._stop()
            case _:
                pass

    def _note(self, execution_id: UUID, epoch: int, steps: Steps) -> None:
        places: list[tuple[UUID, str | None]] = [(execution_id, step) for step in steps] or [(execution_id, None)]
        fresh = [place for place in places if self._cancelled.get(place, 0) < epoch]
        for place in fresh:
            self._cancelled[place] = epoch
            self._cancelled.move_to_end(place)
            if len(self._cancelled) > REMEMBERED:
                self._cancelled.popitem(last=False)
        if fresh:
            self._cancel(execution_id, epoch, steps)


async def listen(connection: Connection, control: Control) -> None:
    """Reads the control stream from an hour ago and on."""
    pending: set[asyncio.Task[None]] = set()

    def receive(delivery: Delivery) -> None:
        try:
            control.tell(encoding.decode(delivery.type, delivery.body))
        except MessageError as error:
            log.warning("control_refused", reason=error.reason.value)
        acknowledged = asyncio.create_task(_acknowledge(delivery))
        pending.add(acknowledged)
        acknowledged.add_done_callback(pending.discard)

    offset = f"{topology.CONTROL_HISTORY_SECONDS}s"
    await connection.consume(topology.CONTROL, receive, prefetch=PREFETCH, arguments={"x-stream-offset": offset})


async def _acknowledge(delivery: Delivery) -> None:
    """A stream keeps what was read; the acknowledgement only lets the next messages come."""
    failpoints.reach(Failpoint.CONTROL_ACKING)
    try:
        await delivery.ack()
    except BrokerError as error:
        log.info("control_not_acknowledged", error=str(error))
    failpoints.reach(Failpoint.CONTROL_ACKED)
