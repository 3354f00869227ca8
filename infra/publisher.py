"""Publishing with confirms: nothing counts as published before the broker has taken responsibility for it."""

import asyncio
import collections
import functools
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict, Unpack
from uuid import uuid4

import aiormq
import aiormq.abc
import pamqp.body
import pamqp.commands
import pamqp.frame
import pamqp.header

from infra import failpoints, metrics
from infra.delivery import LOST, BrokerError, UnroutableError
from infra.failpoints import Failpoint

PUBLISH_TIMEOUT = 10.0

Properties = pamqp.commands.Basic.Properties
PERSISTENT, TRANSIENT = 2, 1

Confirm = asyncio.Future[object]

FAULTS = (aiormq.exceptions.PublishError, *LOST)
"""What a publish can come to, other than its confirm."""


class Outgoing(NamedTuple):
    """A message that is to be published; ``expiration`` is in seconds.

    A ``mandatory`` one that no queue takes is refused, any other is dropped then.
    """

    exchange: str
    routing_key: str
    type_name: str
    body: bytes
    correlation_id: str | None = None
    reply_to: str | None = None
    user_id: str | None = None
    traceparent: str | None = None
    headers: Mapping[str, Any] | None = None
    persistent: bool = True
    mandatory: bool = True
    expiration: float | None = None

    def properties(self, message_id: str) -> Properties:
        """The AMQP properties. Returned messages are matched by their id, so it must be new for each publish."""
        headers = dict(self.headers) if self.headers else {}
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        return Properties(
            content_type="application/json",
            delivery_mode=PERSISTENT if self.persistent else TRANSIENT,
            message_id=message_id,
            message_type=self.type_name,
            correlation_id=self.correlation_id,
            reply_to=self.reply_to,
            user_id=self.user_id,
            headers=headers or None,
            expiration=None if self.expiration is None else str(int(self.expiration * 1000)),
        )


class Rest(TypedDict, total=False):
    """What a publish may say besides; the fields of Outgoing that have defaults."""

    correlation_id: str | None
    reply_to: str | None
    user_id: str | None
    traceparent: str | None
    headers: Mapping[str, Any] | None
    persistent: bool
    mandatory: bool
    expiration: float | None


class Publisher:
    """A channel with publisher confirms; ``user`` is the broker user whose publishes they are.

    What is published in one turn of the event loop leaves as one write. aiormq's own ``basic_publish`` takes a lock, a
    timer and a write for each message, which is most of what a message costs its sender.
    """

    def __init__(self, channel: aiormq.Channel, user: str) -> None:
        """The channel is in confirm mode, raises what is returned, and nobody else publishes on it."""
        self._channel = channel
        self.user = user
        self._name = uuid4().hex
        self._numbers = itertools.count()
        self._next: list[tuple[Outgoing, Confirm]] = []
        self._sending: asyncio.Task[None] | None = None
        self._unconfirmed: collections.deque[tuple[float, list[Confirm]]] = collections.deque()
        self._timer: asyncio.TimerHandle | None = None
        channel.closing.add_done_callback(self._closed)

    async def publish(self, exchange: str, routing_key: str, type_name: str, body: bytes, **rest: Unpack[Rest]) -> None:
        """Returns when the broker has taken responsibility for the message.

        Raises UnroutableError if it is mandatory and no queue takes it, BrokerError if the broker refuses it or does
        not answer within 10 s: then nobody knows whether it was taken, and it is published again.
        """
        message = Outgoing(exchange, routing_key, type_name, body, **rest)
        try:
            began = time.monotonic()
            await self._send(message)
            metrics.CONFIRM_SECONDS.observe(time.monotonic() - began)
        except FAULTS as error:
            raise _refusal(message, error) from error

    async def publish_all(self, messages: Sequence[Outgoing]) -> list[BrokerError | UnroutableError | None]:
        """Publishes all at once; for each, in their order, None if it was confirmed, else what ``publish`` raises.

        What AMQP cannot say, such as a routing key of more than 255 bytes, counts as unroutable.
        """
        began = time.monotonic()
        confirms = [self._send(message) for message in messages]
        await asyncio.gather(*confirms, return_exceptions=True)
        metrics.CONFIRM_SECONDS.observe(time.monotonic() - began)
        refusals: list[BrokerError | UnroutableError | None] = []
        for message, confirm in zip(messages, confirms, strict=True):
            error = confirm.exception()
            refusals.append(None if error is None else _refusal(message, error))
        return refusals

    def _send(self, message: Outgoing) -> Confirm:
        loop = asyncio.get_running_loop()
        confirm: Confirm = loop.create_future()
        if not self._next:
            self._unconfirmed.append((loop.time() + PUBLISH_TIMEOUT, []))
            self._watch()
        self._next.append((message, confirm))
        self._unconfirmed[-1][1].append(confirm)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_waiting())
        return confirm

    async def _send_waiting(self) -> None:
        try:
            while self._next:
                batch, self._next = self._next, []
                await self._send_batch(batch)
        finally:
            self._sending = None

    async def _send_batch(self, batch: Sequence[tuple[Outgoing, Confirm]]) -> None:
        if self._channel.is_closed:
            error = aiormq.exceptions.ChannelInvalidStateError("the channel is closed")
            _fail([confirm for _, confirm in batch], error)
            return
        payload = b"".join(self._expected(message, confirm) for message, confirm in batch)
        await self._channel.write_queue.put(aiormq.abc.ChannelFrame(payload=payload, should_close=False))
        if failpoints.armed(Failpoint.PUBLISH_SENT):
            # The writer writes when the queue is through; the kernel gets it at the end of that turn.
            await self._channel.write_queue.join()
            await asyncio.sleep(0)
            failpoints.reach(Failpoint.PUBLISH_SENT)

    def _expected(self, message: Outgoing, confirm: Confirm) -> bytes:
        """The frames of a publish, whose confirm is awaited from now on under the channel's next number."""
        channel, identity = self._channel, f"{self._name}-{next(self._numbers)}"
        properties = message.properties(identity)
        try:
            frames = b"".join(_frames(message, properties, channel.number, channel.max_content_size))
        except Exception as error:
            # It was never sent, so it has no number: those that follow would be taken for others.
            _fail([confirm], error)
            return b""
        channel.delivery_tag += 1
        channel.confirmations[channel.delivery_tag] = confirm
        channel.message_id_delivery_tag[identity] = channel.delivery_tag
        confirm.add_done_callback(lambda _: channel.message_id_delivery_tag.pop(identity, None))
        return frames

    def _watch(self) -> None:
        """Has one timer run for the oldest batch."""
        loop = asyncio.get_running_loop()
        late = self._unconfirmed
        # The last batch is still being filled while anything waits to be sent.
        while len(late) > bool(self._next) and (
            late[0][0] <= loop.time() or (late[0][1] and all(map(_over, late[0][1])))
        ):
            _fail(late.popleft()[1], TimeoutError("the broker did not answer in time"))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(late[0][0], self._watch) if late else None

    def _closed(self, closing: "asyncio.Future[object]") -> None:
        reason = None if closing.cancelled() else closing.exception()
        error = aiormq.exceptions.ChannelInvalidStateError(f"the channel was closed: {reason!r}")
        for _, confirms in self._unconfirmed:
            _fail(confirms, error)


def _frames(message: Outgoing, properties: Properties, channel: int, most: int) -> Iterator[bytes]:
    yield _method(channel, message.exchange, message.routing_key, message.mandatory)
    header = pamqp.header.ContentHeader(body_size=len(message.body), properties=properties)
    yield pamqp.frame.marshal(header, channel)
    for start in range(0, len(message.body), most):
        yield pamqp.frame.marshal(pamqp.body.ContentBody(message.body[start : start + most]), channel)


@functools.lru_cache(maxsize=1024)
def _method(channel_number: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:
    method = pamqp.commands.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    return pamqp.frame.marshal(method, channel_number)


def _over(confirm: Confirm) -> bool:
    return confirm.done()


def _fail(confirms: Sequence[Confirm], error: Exception) -> None:
    for confirm in confirms:
        if not confirm.done():
            confirm.set_exception(error)


def _refusal(message: Outgoing, error: BaseException) -> BrokerError | UnroutableError:
    if isinstance(error, aiormq.exceptions.PublishError):
        return UnroutableError(f"no queue takes '{message.routing_key}' of exchange '{message.exchange or 'default'}'")
    if isinstance(error, FAULTS):
        return BrokerError(f"publish to '{message.exchange or message.routing_key}' was not confirmed: {error!r}")
    name = type(error).__name__
    return UnroutableError(f"'{message.type_name}' for '{message.routing_key}' cannot be encoded: {name}")
