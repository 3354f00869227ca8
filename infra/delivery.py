"""A message taken from a queue, and the ways to settle it."""

import dataclasses
from collections.abc import Awaitable, Mapping
from typing import Any

import aiormq
import aiormq.abc

from contracts.errors import FactoryError

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


@dataclasses.dataclass(frozen=True, slots=True)
class Delivery:
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
    channel: aiormq.abc.AbstractChannel

    @property
    def delivery_count(self) -> int:
        """How often the broker has handed it out before, as far as it tells; it rises for innocents as well."""
        count = self.headers.get("x-delivery-count", 0)
        return count if isinstance(count, int) else 0

    @property
    def traceparent(self) -> str | None:
        """The trace that the message belongs to."""
        trace = self.headers.get("traceparent")
        return trace if isinstance(trace, str) else None

    async def ack(self) -> None:
        """Done: the broker forgets the message. Raises BrokerError if the channel is gone: it is delivered again."""
        await _settled(self.channel.basic_ack(self.tag, wait=False))

    async def reject(self) -> None:
        """The broker dead-letters the message."""
        await _settled(self.channel.basic_reject(self.tag, requeue=False, wait=False))

    async def give_back(self) -> None:
        """The broker delivers the message again, to whoever comes first."""
        await _settled(self.channel.basic_nack(self.tag, requeue=True, wait=False))


async def _settled(sending: Awaitable[None]) -> None:
    try:
        await sending
    except LOST as error:
        raise BrokerError(f"the channel was lost before a delivery could be settled: {error}") from error


def received(queue: str, message: aiormq.abc.DeliveredMessage) -> Delivery:
    """What aiormq hands over, as a delivery."""
    properties = message.header.properties
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
        tag=message.delivery_tag or 0,
        channel=message.channel,
    )
