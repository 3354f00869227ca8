"""Taking tasks from the four queues of a stage, the tiers by weight.

A stage of short tasks buffers about a fifth of a second of work beside what its slots do. A slow one takes a task only
for a free place, since a buffered task waits unacknowledged where no other worker can have it: it asks the queues in
turn while they have work, and lets itself be told when they have none.
"""

import asyncio
import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Literal

from consumers.runtime.slots import Slots
from consumers.wheel import TierBuffer, Wheel
from contracts import topology
from contracts.messages import StageTask
from contracts.stages import SHORT_SECONDS, TYPICALLY_SHORT_SECONDS, StageSpec
from contracts.tiers import Tier
from infra import failpoints
from infra.broker import Connection, Consumer, Puller
from infra.delivery import Delivery
from infra.failpoints import Failpoint

BUFFER_SECONDS = 0.2
MOST_HELD = 240
"""Tasks that one worker holds. A heartbeat names them all in at most 32 KiB, and a name takes up to 125 bytes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """A task with the delivery that brought it."""

    task: StageTask
    delivery: Delivery


Hold = Literal["paused", "draining"]
"""Why a supply takes nothing: a task runs alone in the process, the stage is paused, the worker is leaving."""

Decode = Callable[[Delivery], StageTask | None]
"""The task in a delivery; None for one that holds none, which is then settled elsewhere."""


def share(specs: Sequence[StageSpec], slots: int) -> int:
    """How many tasks of each tier and short stage a worker of these stages may hold, so that it holds ``MOST_HELD`` in
    all: a slow stage holds what is in slots, and one for each tier that it was told of."""
    slow = sum(is_slow(spec) for spec in specs)
    room = MOST_HELD - (slots + slow * len(Tier) if slow else 0)
    return max(1, room // (len(Tier) * max(1, len(specs) - slow)))


def prefetch(spec: StageSpec, slots: int, most: int) -> int:
    """How many tasks of each tier a worker holds of a short stage, those in its slots included; at most its share.

    One tier alone can fill all slots and a buffer of what they do in a fifth of a second, as far as the share goes.
    """
    buffer = math.ceil(BUFFER_SECONDS * slots / max(spec.typical_seconds, 0.001))
    return min(slots + buffer, most)


def is_slow(spec: StageSpec) -> bool:
    """Whether to fetch a task only when it can be started."""
    return spec.timeout > SHORT_SECONDS or spec.typical_seconds > TYPICALLY_SHORT_SECONDS


class Supply:
    """The tasks of one stage for one worker process."""

    def __init__(self, spec: StageSpec, slots: Slots, decode: Decode, puller: Puller) -> None:
        self.spec = spec
        self._slots = slots
        self._decode = decode
        self._puller = puller
        self._pulls = is_slow(spec)
        self._buffer: TierBuffer[Offer] = TierBuffer()
        self._wheel = Wheel()
        self._consumers: list[Consumer] = []
        self._arrived = asyncio.Event()
        self._holds: set[Hold] = set()
        self._open = asyncio.Event()
        self._open.set()
        # Starting and stopping take a round trip each, and must not overtake one another.
        self._switch = asyncio.Lock()

    @classmethod
    async def connect(
        cls, connection: Connection, spec: StageSpec, slots: Slots, decode: Decode, share: int
    ) -> "Supply":
        """A supply with a consumer for each tier, none of them started if the stage is slow."""
        supply = cls(spec, slots, decode, await connection.puller())
        most = 1 if supply._pulls else prefetch(spec, slots.number, share)
        for tier in Tier:
            queue = topology.stage_queue(spec.name, tier)
            arrive = functools.partial(supply._arrive, tier)
            supply._consumers.append(await connection.consumer(queue, arrive, prefetch=most))
        if not supply._pulls:
            await supply._start()
        return supply

    @property
    def consuming(self) -> bool:
        """Whether its consumers are started for good; those of a slow stage come and go."""
        return not self._pulls and self._open.is_set()

    def held(self) -> list[StageTask]:
        """The tasks that are buffered."""
        return [offer.task for offer in self._buffer.items()]

    def buffered(self) -> int:
        """How many tasks are buffered."""
        return len(self._buffer)

    async def next(self) -> Offer:
        """The next task, with a place taken for it."""
        while True:
            await self._open.wait()
            await self._slots.take()
            try:
                offer = await self._take()
            except BaseException:
                self._slots.release()
                raise
            if offer is not None:
                return offer
            self._slots.release()
            await self._wait()

    async def hold(self, reason: Hold) -> None:
        """Stops taking tasks and gives back what is buffered."""
        self._holds.add(reason)
        self._open.clear()
        self._arrived.set()
        await self._stop()
        for offer in self._buffer.drain():
            failpoints.reach(Failpoint.BUFFER_RETURNING)
            await offer.delivery.give_back()
            failpoints.reach(Failpoint.BUFFER_RETURNED)

    async def release(self, reason: Hold) -> None:
        """Takes tasks again, unless it is held for another reason."""
        self._holds.discard(reason)
        if self._holds or self._open.is_set():
            return
        if not self._pulls:
            await self._start()
        self._open.set()

    def _arrive(self, tier: Tier, delivery: Delivery) -> None:
        task = self._decode(delivery)
        if task is not None:
            self._buffer.add(tier, Offer(task, delivery))
            self._arrived.set()

    async def _take(self) -> Offer | None:
        if not self._open.is_set():
            return None
        offer = self._buffer.take()
        if offer is not None or not self._pulls:
            return offer
        return await self._pull()

    async def _pull(self) -> Offer | None:
        empty: list[Tier] = []
        for tier in self._wheel.order():
            delivery = await self._puller.get(topology.stage_queue(self.spec.name, tier))
            if delivery is None:
                empty.append(tier)
                continue
            self._wheel.serve(tier, [other for other in Tier if other not in empty])
            task = self._decode(delivery)
            return None if task is None else Offer(task, delivery)
        return None

    async def _wait(self) -> None:
        """Waits until there may be a task; a slow stage lets the broker tell it."""
        if len(self._buffer):
            return
        self._arrived.clear()
        if not self._open.is_set():
            return
        if not self._pulls:
            await self._arrived.wait()
            return
        await self._start()
        try:
            await self._arrived.wait()
        finally:
            await self._stop()
        # Several tiers may have answered at once; what finds no free place goes back to where others can have it.
        while len(self._buffer) > max(self._slots.free, 1):
            offer = self._buffer.take()
            if offer is not None:
                failpoints.reach(Failpoint.SURPLUS_RETURNING)
                await offer.delivery.give_back()
                failpoints.reach(Failpoint.SURPLUS_RETURNED)

    async def _start(self) -> None:
        async with self._switch:
            for consumer in self._consumers:
                await consumer.start()

    async def _stop(self) -> None:
        async with self._switch:
            for consumer in self._consumers:
                await consumer.stop()
