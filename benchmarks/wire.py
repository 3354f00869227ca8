"""The floor program's ways to RabbitMQ, all durable: quorum queues, persistent messages, confirms awaited."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import aio_pika
import aiormq
import aiormq.abc
import pamqp.commands

from contracts import topology
from infra import broker
from infra.delivery import Delivery
from infra.publisher import Outgoing, Publisher

PREFETCH = 256
PERSISTENT = 2
QUORUM: aiormq.abc.ArgumentsType = {"x-queue-type": "quorum"}


class Inbox:
    """Bodies that have arrived, each with what settles it."""

    def __init__(self) -> None:
        self._waiting: list[tuple[bytes, object]] = []
        self._arrived = asyncio.Event()

    def add(self, body: bytes, token: object) -> None:
        """Takes in a delivery."""
        self._waiting.append((body, token))
        self._arrived.set()

    async def take(self) -> tuple[list[bytes], list[object]]:
        """All that has arrived, at least one."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        taken, self._waiting = self._waiting, []
        return [body for body, _ in taken], [token for _, token in taken]


class Wire(Protocol):
    """What the floor program needs of a broker."""

    async def declare(self, queue: str) -> None:
        """Makes the quorum queue."""

    async def consume(self, queue: str, inbox: Inbox) -> None:
        """Fills an inbox from the queue; all queues of a wire fill the same."""

    async def publish(self, queue: str, bodies: Sequence[bytes]) -> None:
        """Returns when all are confirmed."""

    async def ack(self, tokens: Sequence[object]) -> None:
        """Settles everything that one ``take`` of an inbox gave."""


class Plain:
    """As the documentation of aio-pika shows it."""

    def __init__(self, incoming: aio_pika.abc.AbstractChannel, outgoing: aio_pika.abc.AbstractChannel) -> None:
        self._incoming = incoming
        self._exchange = outgoing.default_exchange

    async def declare(self, queue: str) -> None:
        """Makes the quorum queue."""
        await self._incoming.declare_queue(queue, durable=True, arguments=QUORUM)

    async def consume(self, queue: str, inbox: Inbox) -> None:
        """Fills an inbox from the queue; all queues of a wire fill the same."""
        declared = await self._incoming.get_queue(queue)

        async def arrive(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            inbox.add(message.body, message)

        await declared.consume(arrive)

    async def publish(self, queue: str, bodies: Sequence[bytes]) -> None:
        """Returns when all are confirmed."""
        persistent = aio_pika.DeliveryMode.PERSISTENT
        messages = [aio_pika.Message(body, delivery_mode=persistent) for body in bodies]
        await asyncio.gather(*(self._exchange.publish(message, routing_key=queue) for message in messages))

    async def ack(self, tokens: Sequence[object]) -> None:
        """Settles each by itself."""
        for token in tokens:
            if isinstance(token, aio_pika.IncomingMessage):
                await token.ack()


class Fast:
    """On aiormq's channels, which aio-pika hands over: plain deliveries, publishes that do not wait for the socket one
    by one, and one acknowledgement for everything up to a tag."""

    def __init__(self, incoming: aiormq.Channel, outgoing: aiormq.Channel) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._properties = pamqp.commands.Basic.Properties

    async def declare(self, queue: str) -> None:
        """Makes the quorum queue."""
        await self._incoming.queue_declare(queue, durable=True, arguments=QUORUM)

    async def consume(self, queue: str, inbox: Inbox) -> None:
        """Fills an inbox from the queue; all queues of a wire fill the same."""

        async def arrive(message: aiormq.abc.DeliveredMessage) -> None:
            inbox.add(message.body, message.delivery_tag)

        await self._incoming.basic_consume(queue, arrive)

    async def publish(self, queue: str, bodies: Sequence[bytes]) -> None:
        """Returns when all are confirmed."""
        publish, properties = self._outgoing.basic_publish, self._properties
        await asyncio.gather(
            *(
                publish(body, routing_key=queue, properties=properties(delivery_mode=PERSISTENT), wait=False)
                for body in bodies
            )
        )

    async def ack(self, tokens: Sequence[object]) -> None:
        """Settles all at once: what one inbox gave lies in the order of its tags, and nothing older is open."""
        last = tokens[-1]
        if isinstance(last, int):
            await self._incoming.basic_ack(last, multiple=True, wait=False)


class Lean:
    """On the factory's own adapter: what is published in one turn is one write, and deliveries come many in a turn."""

    def __init__(self, incoming: broker.Connection, publisher: Publisher) -> None:
        self._incoming = incoming
        self._publisher = publisher

    async def declare(self, queue: str) -> None:
        """Makes the quorum queue."""
        await self._incoming.declare([topology.Queue(queue)])

    async def consume(self, queue: str, inbox: Inbox) -> None:
        """Fills an inbox from the queue; all queues of a wire fill the same."""
        await self._incoming.consume(queue, lambda found: inbox.add(found.body, found), prefetch=PREFETCH)

    async def publish(self, queue: str, bodies: Sequence[bytes]) -> None:
        """Returns when all are confirmed."""
        refused = await self._publisher.publish_all([Outgoing("", queue, "floor", body) for body in bodies])
        assert not any(refused)

    async def ack(self, tokens: Sequence[object]) -> None:
        """Settles each; they leave in rows."""
        for token in tokens:
            if isinstance(token, Delivery):
                await token.ack()


Connect = Callable[[str], contextlib.AbstractAsyncContextManager[Wire]]


@contextlib.asynccontextmanager
async def plain(url: str) -> AsyncIterator[Wire]:
    """A connection for each direction, with aio-pika's own channels."""
    async with await aio_pika.connect(url) as incoming, await aio_pika.connect(url) as outgoing:
        taking = await incoming.channel(publisher_confirms=False)
        await taking.set_qos(prefetch_count=PREFETCH)
        yield Plain(taking, await outgoing.channel())


@contextlib.asynccontextmanager
async def fast(url: str) -> AsyncIterator[Wire]:
    """The same with the channels below them."""
    async with await aio_pika.connect(url) as incoming, await aio_pika.connect(url) as outgoing:
        taking = await incoming.channel(publisher_confirms=False)
        await taking.set_qos(prefetch_count=PREFETCH)
        giving = await outgoing.channel()
        below = [await channel.get_underlay_channel() for channel in (taking, giving)]
        yield Fast(*(channel for channel in below if isinstance(channel, aiormq.Channel)))


@contextlib.asynccontextmanager
async def lean(url: str) -> AsyncIterator[Wire]:
    """A connection for each direction, as the factory's processes have them."""
    async with broker.connect(url, name="floor") as incoming, broker.connect(url, name="floor") as outgoing:
        yield Lean(incoming, await outgoing.publisher())


CONNECT: dict[str, Connect] = {"floor": fast, "floor-plain": plain, "floor-lean": lean}
