"""RabbitMQ: connections that are lost as a whole, confirmed publishes, and deliveries settled one way each.

A connection that breaks anywhere is over: its owner closes everything and builds it anew. Nothing is restored behind
the caller's back, because a restored consumer that silently receives nothing is worse than a process that starts again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any
from uuid import uuid4

import aio_pika
import aiormq
import aiormq.abc
import pamqp.commands
import pamqp.exceptions

from contracts import topology
from infra import deadlines
from infra.delivery import LOST, BrokerError, Delivery, Ledger, NotFoundError, received
from infra.publisher import Publisher

HEARTBEAT = 15
FRAMES = 4096
"""Frames that a channel takes in before its connection waits for it. With aiormq's ten, and three for each delivery,
three deliveries would arrive in a turn of the event loop, and nothing could be done for many at once."""

CONNECT_TIMEOUT = 10.0
TAKE_TIMEOUT = 10.0
CLOSE_TIMEOUT = 5.0

Handler = Callable[[Delivery], None]


class Consumer:
    """A channel of its own for one queue, so that settling in one queue never touches another."""

    def __init__(
        self,
        queue: str,
        channel: aiormq.Channel,
        ledger: Ledger,
        handler: Handler,
        arguments: Mapping[str, Any] | None,
    ) -> None:
        self.queue = queue
        self._channel = channel
        self._ledger = ledger
        self._handler = handler
        self._arguments = dict(arguments or {})
        self._tag: str | None = None

    async def start(self) -> None:
        """Deliveries arrive from now on. Raises NotFoundError where the queue is missing."""
        if self._tag is not None:
            return
        tag = uuid4().hex
        try:
            async with deadlines.within(CONNECT_TIMEOUT):
                await self._channel.basic_consume(
                    self.queue, self._deliver, consumer_tag=tag, arguments=self._arguments
                )
        except aiormq.exceptions.ChannelNotFoundEntity as error:
            raise NotFoundError(f"queue '{self.queue}' does not exist; run 'factory migrate'") from error
        except LOST as error:
            raise BrokerError(f"cannot consume '{self.queue}': {error!r}") from error
        self._tag = tag

    async def _deliver(self, message: aiormq.abc.DeliveredMessage) -> None:
        self._handler(received(self.queue, message, self._ledger))

    async def stop(self) -> None:
        """No further delivery arrives; those that have arrived can still be settled."""
        tag, self._tag = self._tag, None
        if tag is None:
            return
        try:
            async with deadlines.within(CLOSE_TIMEOUT):
                await self._channel.basic_cancel(tag)
        except LOST as error:
            raise BrokerError(f"cannot stop consuming '{self.queue}': {error!r}") from error


class Puller:
    """A channel that takes one message at a time from any queue."""

    def __init__(self, channel: aiormq.Channel, ledger: Ledger) -> None:
        self._channel = channel
        self._ledger = ledger

    async def get(self, queue: str) -> Delivery | None:
        """The next message of the queue, None if it has none."""
        try:
            async with deadlines.within(TAKE_TIMEOUT):
                message = await self._channel.basic_get(queue)
        except LOST as error:
            raise BrokerError(f"cannot take from '{queue}': {error!r}") from error
        if isinstance(message.delivery, pamqp.commands.Basic.GetEmpty):
            return None
        return received(queue, message, self._ledger)


class Connection:
    """One AMQP connection. ``lost`` is set, with the reason, when any part of it breaks."""

    def __init__(self, connection: aio_pika.abc.AbstractConnection, user: str) -> None:
        self._connection = connection
        self._ledgers: list[Ledger] = []
        self._lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.user = user
        connection.close_callbacks.add(lambda _, error: self._fail(f"connection closed: {error}"))

    def _fail(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)

    async def watch(self) -> None:
        """Waits until any part of the connection breaks, then raises BrokerError with the reason."""
        raise BrokerError(await asyncio.shield(self._lost))

    async def _channel(self) -> aiormq.Channel:
        transport = self._connection.transport
        if transport is None:
            raise BrokerError("cannot open a channel: the connection is closed")
        try:
            async with deadlines.within(CONNECT_TIMEOUT):
                channel = await transport.connection.channel(
                    publisher_confirms=True, on_return_raises=True, frame_buffer_size=FRAMES
                )
        except (*LOST, RuntimeError) as error:
            raise BrokerError(f"cannot open a channel: {error!r}") from error
        if not isinstance(channel, aiormq.Channel):
            raise BrokerError(f"aiormq handed over {type(channel).__name__} where a Channel was expected")
        channel.closing.add_done_callback(self._closed)
        return channel

    def _closed(self, closing: "asyncio.Future[object]") -> None:
        reason = "cancelled" if closing.cancelled() else closing.exception()
        self._fail(f"channel closed: {reason}")

    def _ledger(self, channel: aiormq.Channel) -> Ledger:
        ledger = Ledger(channel)
        self._ledgers.append(ledger)
        return ledger

    async def acknowledge(self) -> None:
        """Sends the acknowledgements that still wait for company."""
        for ledger in self._ledgers:
            await ledger.flush()

    async def publisher(self) -> Publisher:
        """A new channel for publishing."""
        return Publisher(await self._channel(), self.user)

    async def puller(self) -> Puller:
        """A new channel for taking single messages."""
        channel = await self._channel()
        return Puller(channel, self._ledger(channel))

    async def consumer(
        self, queue: str, handler: Handler, *, prefetch: int, arguments: Mapping[str, Any] | None = None
    ) -> Consumer:
        """A consumer that hands every message of the queue to the handler once it is started.

        At most ``prefetch`` messages are unsettled at a time. If the broker cancels it, the whole connection is lost.
        """
        channel = await self._channel()
        channel.on_consumer_cancel_callbacks.add(
            lambda _: self._fail(f"the broker cancelled the consumer of '{queue}'")
        )
        try:
            async with deadlines.within(CONNECT_TIMEOUT):
                await channel.basic_qos(prefetch_count=prefetch)
        except LOST as error:
            raise BrokerError(f"cannot consume '{queue}': {error!r}") from error
        return Consumer(queue, channel, self._ledger(channel), handler, arguments)

    async def consume(
        self, queue: str, handler: Handler, *, prefetch: int, arguments: Mapping[str, Any] | None = None
    ) -> Consumer:
        """The same, started. Raises NotFoundError where the queue is missing."""
        consumer = await self.consumer(queue, handler, prefetch=prefetch, arguments=arguments)
        await consumer.start()
        return consumer

    async def inspect(self, queue: str) -> tuple[int, int]:
        """How many messages wait in a queue and how many consumers it has; raises NotFoundError where it is missing."""
        found = (await self.inspect_all([queue]))[queue]
        if found is None:
            raise NotFoundError(f"queue '{queue}' does not exist; run 'factory migrate'")
        return found

    async def inspect_all(self, queues: Iterable[str]) -> dict[str, tuple[int, int] | None]:
        """The same for many queues, None for each that is missing."""
        found: dict[str, tuple[int, int] | None] = {}
        channel = None
        try:
            async with deadlines.within(CONNECT_TIMEOUT):
                for queue in queues:
                    if channel is None:
                        # Not one of ours, whose end is the connection's: a missing queue closes it.
                        channel = self._connection.channel(publisher_confirms=False)
                        await channel.initialize()
                    try:
                        told = (await channel.declare_queue(queue, passive=True)).declaration_result
                        found[queue] = (told.message_count or 0, told.consumer_count or 0)
                    except aiormq.exceptions.ChannelNotFoundEntity:
                        found[queue], channel = None, None
                if channel is not None:
                    await channel.close()
        except (*LOST, RuntimeError) as error:  # which both libraries raise where the connection is closed by then
            raise BrokerError(f"cannot inspect the queues: {error!r}") from error
        return found

    async def declare(self, queues: Iterable[topology.Queue]) -> None:
        """Declares the factory's exchanges and these queues with their bindings; what exists is left as it is."""
        channel = await self._channel()
        try:
            for exchange in topology.EXCHANGES:
                await channel.exchange_declare(exchange, exchange_type="topic", durable=True, timeout=CONNECT_TIMEOUT)
            for queue in queues:
                await channel.queue_declare(
                    queue.name, durable=True, arguments=dict(queue.declaration()), timeout=CONNECT_TIMEOUT
                )
                for exchange, key in queue.bindings:
                    await channel.queue_bind(queue.name, exchange, routing_key=key, timeout=CONNECT_TIMEOUT)
        except LOST as error:
            raise BrokerError(f"cannot declare the topology: {error!r}") from error

    async def declare_reply_queue(self, bindings: Iterable[tuple[str, str]] = ()) -> str:
        """A queue with a name made by the broker, for this connection alone and gone with it.

        ``bindings``, pairs of exchange and routing key, let it hear what passes there beside those who work on it.
        """
        channel = await self._channel()
        try:
            declared = await channel.queue_declare("", exclusive=True, auto_delete=True, timeout=CONNECT_TIMEOUT)
            for exchange, key in bindings:
                await channel.queue_bind(declared.queue or "", exchange, routing_key=key, timeout=CONNECT_TIMEOUT)
        except LOST as error:
            raise BrokerError(f"cannot declare a reply queue: {error!r}") from error
        return declared.queue or ""


@contextlib.asynccontextmanager
async def connect(url: str, *, name: str) -> AsyncIterator[Connection]:
    """A connection to the broker, named in its management pages. Raises BrokerError if it cannot be had."""
    try:
        async with deadlines.within(CONNECT_TIMEOUT):
            raw = await aio_pika.connect(
                url, client_properties={"connection_name": name}, heartbeat=HEARTBEAT, timeout=CONNECT_TIMEOUT
            )
    except (*LOST, pamqp.exceptions.AMQPError) as error:
        raise BrokerError(f"cannot connect to the broker of FACTORY_AMQP_URL: {error}") from error
    connection = Connection(raw, aio_pika.connection.make_url(url).user or "guest")
    try:
        yield connection
    finally:
        # What a broken connection did not acknowledge comes again; closing it reports the break a second time.
        for leave in (connection.acknowledge, raw.close):
            with contextlib.suppress(*LOST, BrokerError, asyncio.CancelledError):
                async with deadlines.within(CLOSE_TIMEOUT):
                    await leave()
