"""What every worker is told at once: cancelled executions, and who is to drain. An hour of it is read at start."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

import structlog

from contracts import encoding, messages, topology
from contracts.errors import MessageError
from contracts.messages import TaskKey
from infra.broker import Connection
from infra.delivery import BrokerError, Delivery

log = structlog.get_logger()

REMEMBERED = 100_000
"""Cancelled executions kept in memory, the latest ones; a task of an older one is refused by the coordinator."""

PREFETCH = 100


class Control:
    """Which work is wanted no more."""

    def __init__(self, worker: str, stop: Callable[[], None], cancel: Callable[[UUID, int], None]) -> None:
        """``stop`` is called when this worker is to drain, ``cancel`` with each cancelled execution and its epoch."""
        self._worker = worker
        self._stop = stop
        self._cancel = cancel
        self._cancelled: OrderedDict[UUID, int] = OrderedDict()

    def is_cancelled(self, key: TaskKey) -> bool:
        """Whether the task belongs to cancelled work."""
        epoch = self._cancelled.get(key.execution_id)
        return epoch is not None and key.epoch <= epoch

    def tell(self, message: messages.Message) -> None:
        """Takes in a control message."""
        match message:
            case messages.CancelWork(execution_id=execution_id, epoch=epoch):
                self._note(execution_id, epoch)
            case messages.ControlSnapshot(cancelled=cancelled):
                for execution_id, epoch in cancelled:
                    self._note(execution_id, epoch)
            case messages.DrainWorker(worker=worker) if worker == self._worker:
                self._stop()
            case _:
                pass

    def _note(self, execution_id: UUID, epoch: int) -> None:
        if self._cancelled.get(execution_id, 0) < epoch:
            self._cancelled[execution_id] = epoch
            self._cancelled.move_to_end(execution_id)
            if len(self._cancelled) > REMEMBERED:
                self._cancelled.popitem(last=False)
            self._cancel(execution_id, epoch)


async def listen(connection: Connection, control: Control) -> None:
    """Reads the control stream from an hour ago and on."""
    pending: set[asyncio.Task[None]] = set()

    def receive(delivery: Delivery) -> None:
        try:
            control.tell(encoding.decode(delivery.type, delivery.body))
        except MessageError as error:
            log.warning("control_refused", error=str(error))
        acknowledged = asyncio.create_task(_acknowledge(delivery))
        pending.add(acknowledged)
        acknowledged.add_done_callback(pending.discard)

    offset = f"{topology.CONTROL_HISTORY_SECONDS}s"
    await connection.consume(topology.CONTROL, receive, prefetch=PREFETCH, arguments={"x-stream-offset": offset})


async def _acknowledge(delivery: Delivery) -> None:
    """A stream keeps what was read; the acknowledgement only lets the next messages come."""
    try:
        await delivery.ack()
    except BrokerError as error:
        log.info("control_not_acknowledged", error=str(error))
