"""A worker process: it takes tasks of its stages, does them, says what it holds, and leaves in good order."""

import asyncio
import os
import secrets
import socket
from collections.abc import Sequence

import structlog

from consumers import sessions
from consumers.handlers import Handler
from consumers.runtime import control, settlement
from consumers.runtime.control import Control
from consumers.runtime.desk import Desk
from consumers.runtime.equipment import Equipment
from consumers.runtime.slots import Place, Slots
from consumers.runtime.supply import Offer, Supply, share
from contracts import encoding, topology
from contracts.errors import MessageError, Reason
from contracts.messages import StageTask, WorkerHeartbeat
from contracts.tiers import Tier
from infra import broker, failpoints, metrics
from infra.broker import Connection
from infra.delivery import BrokerError, Delivery
from infra.failpoints import Failpoint
from infra.health import Health
from infra.settings import Settings

log = structlog.get_logger()

ALONE_AFTER = 2
"""A task that the broker has handed out so often before runs alone: it may be what killed its workers."""

WATCH_SECONDS = 30.0


def instance_name() -> str:
    """A name that no other worker process has, now or after a restart."""
    return f"{socket.gethostname()[:60]}-{os.getpid()}-{secrets.token_hex(4)}"


async def run(
    settings: Settings,
    equipment: Equipment,
    handlers: Sequence[Handler],
    concurrency: int,
    stop: asyncio.Event,
    health: Health,
) -> None:
    """Works until ``stop`` is set, then drains. Each session with the broker is a worker instance of its own."""
    await sessions.repeat(lambda: _session(settings, equipment, handlers, concurrency, stop, health), health, stop)


async def _session(
    settings: Settings,
    equipment: Equipment,
    handlers: Sequence[Handler],
    concurrency: int,
    stop: asyncio.Event,
    health: Health,
) -> None:
    async with (
        broker.connect(settings.amqp_url, name="worker, consuming") as incoming,
        broker.connect(settings.amqp_url, name="worker, publishing") as outgoing,
        asyncio.TaskGroup() as group,
    ):
        watchers = [group.create_task(connection.watch()) for connection in (incoming, outgoing)]
        desk = Desk(instance_name(), await outgoing.publisher(), log_completed=settings.log_settlements == "all")
        worker = Worker(settings, equipment, desk, Slots(concurrency), stop, group)
        try:
            loops = await worker.begin(incoming, handlers)
            health.mended("session")
            log.info("worker_ready", worker=desk.worker, stages=[handler.spec.name for handler in handlers])
            await stop.wait()
            await worker.drain(loops)
        finally:
            _show_none(handlers)
        for task in watchers:
            task.cancel()


def _show_none(handlers: Sequence[Handler]) -> None:
    """What the session held is not held any more."""
    metrics.SLOTS_BUSY.set_function(float)
    for handler in handlers:
        metrics.BUFFERED.labels(handler.spec.name).set_function(float)


class Worker:
    """The tasks of one session."""

    def __init__(
        self,
        settings: Settings,
        equipment: Equipment,
        desk: Desk,
        slots: Slots,
        stop: asyncio.Event,
        group: asyncio.TaskGroup,
    ) -> None:
        self._settings = settings
        self._equipment = equipment
        self._desk = desk
        self._slots = slots
        self._group = group
        self._control = Control(desk.worker, stop.set, desk.cancel, self._pause_stages)
        self._paused: frozenset[str] = frozenset()
        self._pausing = asyncio.Lock()
        self._supplies: list[Supply] = []
        self._sequence = 0

    async def begin(self, incoming: Connection, handlers: Sequence[Handler]) -> list[asyncio.Task[None]]:
        """Starts everything and returns the tasks that run until they are cancelled."""
        await control.listen(incoming, self._control)
        metrics.SLOTS.set(self._slots.number)
        metrics.SLOTS_BUSY.set_function(lambda: self._slots.used)
        most = share([handler.spec for handler in handlers], self._slots.number)
        for handler in handlers:
            supply = await Supply.connect(incoming, handler.spec, self._slots, self._decode, most)
            self._supplies.append(supply)
            metrics.expect_work(handler.spec.name)
            metrics.BUFFERED.labels(handler.spec.name).set_function(supply.buffered)
        await self._follow_pauses()
        loops = [self._group.create_task(self._heartbeats()), self._group.create_task(self._watch(incoming))]
        for supply, handler in zip(self._supplies, handlers, strict=True):
            loops.append(self._group.create_task(self._serve(supply, handler)))
        return loops

    def _pause_stages(self, stages: frozenset[str]) -> None:
        if stages != self._paused:
            log.info("stages_paused", stages=sorted(stages))
            self._paused = stages
            self._group.create_task(self._follow_pauses())

    async def _follow_pauses(self) -> None:
        """Takes tasks of exactly the stages that are not paused; what is being done is done to the end."""
        async with self._pausing:
            for supply in self._supplies:
                if supply.spec.name in self._paused:
                    await supply.hold("paused")
                else:
                    await supply.release("paused")

    def _decode(self, delivery: Delivery) -> StageTask | None:
        failpoints.reach(Failpoint.TASK_RECEIVED)
        try:
            message = encoding.decode(delivery.type, delivery.body)
            if isinstance(message, StageTask):
                failpoints.reach(Failpoint.TASK_DECODED)
                return message
            raise MessageError(Reason.UNKNOWN_TYPE, f"property 'type' is '{delivery.type}'; this queue takes StageTask")
        except MessageError as error:
            self._group.create_task(self._desk.bury(delivery, error.reason, str(error)))
            return None

    async def _serve(self, supply: Supply, handler: Handler) -> None:
        while True:
            offer = await supply.next()
            self._group.create_task(self._handle(handler, offer))

    async def _handle(self, handler: Handler, offer: Offer) -> None:
        place = Place(self._slots)
        try:
            if offer.delivery.delivery_count >= ALONE_AFTER:
                await self._handle_alone(handler, offer)
            else:
                await settlement.handle(self._desk, self._control, self._equipment, handler, offer, place.leave)
        finally:
            place.close()

    async def _handle_alone(self, handler: Handler, offer: Offer) -> None:
        """Does a task that may kill its worker while nothing else runs that could die with it and take the blame.

        What is buffered stays: to give it back would raise its own delivery count, until it had to run alone as well.
        """
        async with self._slots.alone():
            log.warning("task_runs_alone", stage=handler.spec.name, handed_out=offer.delivery.delivery_count + 1)
            await settlement.handle(self._desk, self._control, self._equipment, handler, offer, _stay)

    async def _heartbeats(self) -> None:
        while True:
            await self._beat(stopping=False)
            await asyncio.sleep(self._settings.heartbeat_seconds)

    async def _beat(self, *, stopping: bool) -> None:
        self._sequence += 1
        buffered = [task.key for supply in self._supplies for task in supply.held()]
        await self._desk.beat(
            WorkerHeartbeat(
                worker=self._desk.worker,
                sequence=self._sequence,
                stages=tuple(supply.spec.name for supply in self._supplies),
                capacity=self._slots.number,
                in_flight=self._slots.used,
                held=() if stopping else tuple(dict.fromkeys([*self._desk.running, *buffered])),
                stopping=stopping,
            )
        )

    async def _watch(self, incoming: Connection) -> None:
        """Ends the session when a queue has no consumer though this worker believes to be one."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for supply in self._supplies:
                if supply.consuming:
                    queue = topology.stage_queue(supply.spec.name, Tier.BASIC)
                    _, consumers = await incoming.inspect(queue)
                    if consumers == 0 and supply.consuming:
                        raise BrokerError(f"the broker has no consumer of '{queue}'")

    async def drain(self, loops: Sequence[asyncio.Task[None]]) -> None:
        """Takes nothing more, gives back what is buffered, lets running work end within the deadline, says goodbye."""
        log.info("worker_draining", running=len(self._desk.running))
        for task in loops[1:]:
            task.cancel()
        for supply in self._supplies:
            await supply.hold("draining")
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                await self._slots.idle()
        except TimeoutError:
            # What is not done in time goes back to the queue when the connection closes.
            log.warning("drain_deadline", unfinished=len(self._desk.running))
            for held in self._desk.running.values():
                if held.attempt is not None:
                    held.attempt.cancel()
        loops[0].cancel()
        await self._beat(stopping=True)
        log.info("worker_drained")


def _stay() -> None:
    """What runs alone keeps its place until it is settled."""
