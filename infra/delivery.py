"""A message taken from a queue, and the ways to settle it."""

import asyncio
import enum
from collections.abc import Awaitable, Mapping
from typing import Any, NamedTuple

import aiormq
import aiormq.abc
import structlog

from contracts.errors import FactoryError
from infra import faults, tracing

log = structlog.get_logger()

LOST = (
    aiormq.exceptions.AMQPError,
    aiormq.exceptions.ChannelInvalidStateError,
    ConnectionError,
    OSError,
    TimeoutError,
)
"""What aiormq and the network raise when a connection or a channel is gone."""


class BrokerError(FactoryError):
    """The broker cannot be used; whoever holds the connection closes it and connects again."""


class UnroutableError(FactoryError):
    """No queue takes messages with this routing key."""


class NotFoundError(FactoryError):
    """The queue or exchange does not exist; ``factory migrate`` declares what is missing."""


ACK_SECONDS = 0.002
"""How long an acknowledgement waits for others, to travel in one frame with them."""


class _Tag(enum.Enum):
    OPEN = enum.auto()
    DONE = enum.auto()
    SENT = enum.auto()


class Ledger:
    """The deliveries of one channel that are not settled, in the order in which they came.

    Acknowledgements are gathered: the longest row of settled deliveries goes out as one frame, never past an open one.
    What is settled behind an open one goes out by itself a moment later: a slow task must not fill the window.
    """

    def __init__(self, channel: aiormq.abc.AbstractChannel) -> None:
        self.channel = channel
        self._tags: dict[int, _Tag] = {}
        self._fresh: list[int] = []
        self._behind: list[int] = []
        self._flushing: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    def opened(self, tag: int) -> None:
        """A delivery has arrived; tags rise."""
        self._tags[tag] = _Tag.OPEN

    def ack(self, tag: int) -> None:
        """Has the delivery acknowledged within milliseconds. Raises BrokerError if the channel is gone."""
        if self.channel.is_closed:
            raise BrokerError("the channel was lost before a delivery could be settled")
        self._tags[tag] = _Tag.DONE
        self._fresh.append(tag)
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush_regularly())

    async def settle(self, tag: int, sending: Awaitable[None]) -> None:
        """Settles a delivery at once, in another way than by an acknowledgement."""
        # It stays open until its frame is queued, or an acknowledgement of a row could overtake it.
        await _settled(sending)
        self._tags[tag] = _Tag.SENT

    async def flush(self) -> None:
        """Returns when every acknowledgement that waited has left. Raises BrokerError if the channel is gone."""
        await self._flush(wait=True)
        await self._flush(wait=True)

    async def _flush_regularly(self) -> None:
        try:
            while self._fresh or self._behind:
                await asyncio.sleep(ACK_SECONDS)
                await self._flush()
        except BrokerError as error:
            # Whoever watches the connection learns of it as well; what was not acknowledged is delivered again.
            log.info("acknowledgements_lost", error=faults.told(error))
        finally:
            self._flushing = None

    async def _flush(self, *, wait: bool = False) -> None:
        # One at a time: whoever waits until everything has left must wait for what another one has under way.
        async with self._turn:
            await self._send(wait)

    async def _send(self, wait: bool) -> None:
        last = self._settled_row()
        alone = [tag for tag in self._behind if self._tags.get(tag) is _Tag.DONE]
        self._behind = [tag for tag in self._fresh if self._tags.get(tag) is _Tag.DONE]
        self._fresh = []
        if last is not None:
            await _settled(self.channel.basic_ack(last, multiple=True, wait=wait))
        for tag in alone:
            self._tags[tag] = _Tag.SENT
            await _settled(self.channel.basic_ack(tag, wait=wait))

    def _settled_row(self) -> int | None:
        """Forgets the deliveries up to the first open one; the last tag of them that is to be acknowledged."""
        row: list[int] = []
        last = None
        for tag, state in self._tags.items():
            if state is _Tag.OPEN:
                break
            row.append(tag)
            last = tag if state is _Tag.DONE else last
        for tag in row:
            del self._tags[tag]
        return last


class Delivery(NamedTuple):
    """A message that this process holds until it settles it, exactly once."""

    queue: str
    body: bytes
    type: str | None
    message_id: str | None
    correlation_id: str | None
    reply_to: str | None
    user_id: str | None
    exchange: str
    routing_key: str
    redelivered: bool
    headers: Mapping[str, Any]
    tag: int
    ledger: Ledger

    @property
    def delivery_count(self) -> int:
        """How often the broker has handed it out before, as far as it tells; it rises for innocents as well."""
        count = self.headers.get("x-delivery-count", 0)
        return count if isinstance(count, int) else 0

    @property
    def traceparent(self) -> str | None:
        """The trace that the message belongs to, if it names one; what is no traceparent counts as none."""
        return tracing.valid(self.headers.get("traceparent"))

    async def ack(self) -> None:
        """Done: the broker forgets the message within milliseconds, or delivers it again where the channel is lost.

        Raises BrokerError if the channel is gone already.
        """
        self.ledger.ack(self.tag)

    async def reject(self) -> None:
        """The broker dead-letters the message."""
        await self.ledger.settle(self.tag, self.ledger.channel.basic_reject(self.tag, requeue=False, wait=False))

    async def give_back(self) -> None:
        """The broker delivers the message again, to whoever comes first."""
        await self.ledger.settle(self.tag, self.ledger.channel.basic_nack(self.tag, requeue=True, wait=False))


async def _settled(sending: Awaitable[None]) -> None:
    try:
        await sending
    except LOST as error:
        raise BrokerError(f"the channel was lost before a delivery could be settled: {error}") from error


def received(queue: str, message: aiormq.abc.DeliveredMessage, ledger: Ledger) -> Delivery:
    """What aiormq hands over, as a delivery."""
    properties = message.header.properties
    tag = message.delivery_tag or 0
    ledger.opened(tag)
    return Delivery(
        queue=queue,
        body=message.body,
        type=properties.message_type,
        message_id=properties.message_id,
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        user_id=properties.user_id,
        exchange=message.exchange or "",
        routing_key=message.routing_key or "",
        redelivered=bool(message.redelivered),
        headers=properties.headers or {},
        tag=tag,
        ledger=ledger,
    )
