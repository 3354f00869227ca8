"""Deliveries that are settled in any order, and publishes that leave together, on a real broker."""

import asyncio
import uuid

import pytest

from contracts import topology
from infra import broker, settings
from infra.delivery import BrokerError, Delivery, UnroutableError
from infra.publisher import Outgoing
from tests.factories import eventually


def numbered(queue: str, number: int) -> Outgoing:
    return Outgoing("", queue, "Probe", str(number).encode())


async def fresh(connection: broker.Connection, messages: int) -> str:
    """A queue of its own that holds so many messages, numbered from 1."""
    queue = f"reply.{uuid.uuid4().hex}"
    await connection.declare([topology.Queue(queue)])
    publisher = await connection.publisher()
    assert await publisher.publish_all([numbered(queue, n + 1) for n in range(messages)]) == [None] * messages
    return queue


async def arrived(deliveries: list[Delivery], number: int) -> None:
    async def here() -> bool:
        return len(deliveries) == number

    await eventually(here, f"{number} messages are delivered")


async def left_in(url: str, queue: str) -> list[int]:
    """What the broker hands out again when the one who held it is gone."""
    deliveries: list[Delivery] = []
    async with broker.connect(url, name="after") as connection:

        async def settled() -> bool:
            return (await connection.inspect(queue))[1] == 0

        await eventually(settled, "the broker knows that the consumer is gone")
        waiting, _ = await connection.inspect(queue)
        await connection.consume(queue, deliveries.append, prefetch=0)
        await arrived(deliveries, waiting)
    return [int(delivery.body) for delivery in deliveries]


@pytest.mark.parametrize(
    ("acked", "kept"),
    [
        ([1, 2, 3, 4, 5, 6], []),
        ([6, 5, 4, 3, 2, 1], []),
        ([2, 3, 5], [1, 4, 6]),
        ([6], [1, 2, 3, 4, 5]),
        ([1, 2, 6], [3, 4, 5]),
    ],
)
async def test_what_is_acknowledged_is_gone_and_nothing_else(
    stack: settings.Settings, acked: list[int], kept: list[int]
) -> None:
    deliveries: list[Delivery] = []
    async with broker.connect(stack.amqp_url, name="test") as connection:
        queue = await fresh(connection, 6)
        await connection.consume(queue, deliveries.append, prefetch=0)
        await arrived(deliveries, 6)
        for number in acked:
            await deliveries[number - 1].ack()
    assert sorted(await left_in(stack.amqp_url, queue)) == kept


async def test_other_ways_to_settle_mix_with_acknowledgements(stack: settings.Settings) -> None:
    deliveries: list[Delivery] = []
    async with broker.connect(stack.amqp_url, name="test") as connection:
        queue = await fresh(connection, 5)
        consumer = await connection.consume(queue, deliveries.append, prefetch=0)
        await arrived(deliveries, 5)
        await consumer.stop()
        await deliveries[0].ack()
        await deliveries[1].give_back()
        await deliveries[2].ack()
        await deliveries[3].reject()
    assert sorted(await left_in(stack.amqp_url, queue)) == [2, 5]


async def test_a_slow_task_does_not_fill_the_window(stack: settings.Settings) -> None:
    deliveries: list[Delivery] = []
    async with broker.connect(stack.amqp_url, name="test") as connection:
        queue = await fresh(connection, 20)

        def arrive(delivery: Delivery) -> None:
            deliveries.append(delivery)
            if int(delivery.body) > 1:
                delivery.ledger.ack(delivery.tag)

        await connection.consume(queue, arrive, prefetch=3)
        await arrived(deliveries, 20)
    assert await left_in(stack.amqp_url, queue) == [1]


async def test_acknowledgements_on_a_channel_that_is_gone_say_so(stack: settings.Settings) -> None:
    deliveries: list[Delivery] = []
    async with broker.connect(stack.amqp_url, name="test") as connection:
        queue = await fresh(connection, 1)
        await connection.consume(queue, deliveries.append, prefetch=0)
        await arrived(deliveries, 1)
    with pytest.raises(BrokerError, match="channel was lost"):
        await deliveries[0].ack()


async def test_of_many_publishes_only_the_one_that_amqp_cannot_say_is_refused(stack: settings.Settings) -> None:
    async with broker.connect(stack.amqp_url, name="test") as connection:
        queue = await fresh(connection, 0)
        publisher = await connection.publisher()
        batch = [numbered(queue, 1), Outgoing("", "ж" * 200, "Probe", b"2"), numbered(queue, 3)]
        refusals = await publisher.publish_all(batch)
        assert [type(refusal) for refusal in refusals] == [type(None), UnroutableError, type(None)]
        assert "'Probe' for 'жж" in str(refusals[1])
    assert await left_in(stack.amqp_url, queue) == [1, 3]


async def test_of_many_publishes_only_the_unroutable_one_is_refused(stack: settings.Settings) -> None:
    async with broker.connect(stack.amqp_url, name="test") as connection:
        queue = await fresh(connection, 0)
        publisher = await connection.publisher()
        batch = [numbered(queue, n) for n in range(300)]
        batch[100] = Outgoing("", "reply.nobody", "Probe", b"100")
        batch[200] = Outgoing("", "reply.nobody", "Probe", b"200", mandatory=False)
        refusals = await publisher.publish_all(batch)
        assert [type(refusal) for refusal in refusals if refusal is not None] == [UnroutableError]
        assert "'reply.nobody' of exchange 'default'" in str(refusals[100])
    assert await left_in(stack.amqp_url, queue) == [n for n in range(300) if n not in (100, 200)]


async def test_a_message_that_cannot_be_written_spoils_no_other(stack: settings.Settings) -> None:
    async with broker.connect(stack.amqp_url, name="test") as connection:
        queue = await fresh(connection, 0)
        publisher = await connection.publisher()
        good = [asyncio.create_task(publisher.publish("", queue, "Probe", str(n).encode())) for n in range(2)]
        bad = asyncio.create_task(publisher.publish("", "k" * 300, "Probe", b"bad"))
        after = asyncio.create_task(publisher.publish("", queue, "Probe", b"2"))
        await asyncio.gather(*good, after)
        with pytest.raises(TypeError, match="255 bytes"):
            await bad
        with pytest.raises(UnroutableError):
            await publisher.publish("", "reply.nobody", "Probe", b"x")
    assert await left_in(stack.amqp_url, queue) == [0, 1, 2]


async def test_a_body_larger_than_a_frame_arrives_whole(stack: settings.Settings) -> None:
    deliveries: list[Delivery] = []
    body = uuid.uuid4().bytes * 20_000
    async with broker.connect(stack.amqp_url, name="test") as connection:
        queue = await fresh(connection, 0)
        publisher = await connection.publisher()
        await asyncio.gather(*(publisher.publish("", queue, "Probe", part) for part in (b"", body, b"end")))
        await connection.consume(queue, deliveries.append, prefetch=0)
        await arrived(deliveries, 3)
    assert [delivery.body for delivery in deliveries] == [b"", body, b"end"]


async def test_publishes_on_a_channel_that_is_gone_are_not_confirmed(stack: settings.Settings) -> None:
    async with broker.connect(stack.amqp_url, name="test") as connection:
        queue = await fresh(connection, 0)
        publisher = await connection.publisher()
    with pytest.raises(BrokerError, match="was not confirmed"):
        await publisher.publish("", queue, "Probe", b"x")
