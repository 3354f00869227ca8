"""FastStream on RabbitMQ: five subscribers, each of which publishes to the queue of the next.

Durable: quorum queues, persistent messages, publisher confirms, and a message is acknowledged only after the broker
confirmed the one that follows from it. A crash of a worker or of the broker loses nothing; a step may run twice.
There is no state beside the queues: no record of a pipeline, no result, no retry counted, no look at what runs.
FastStream's validation of arguments is off (`apply_types`), as is its line of log for each message.
"""

import asyncio
from typing import Any

from faststream import AckPolicy
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

from benchmarks import drive
from benchmarks.peers import common

DURABLE = True

PREFETCH = 100
QUEUES = [RabbitQueue(f"step-{number}", queue_type=QueueType.QUORUM) for number in range(drive.STEPS)]


async def step(body: dict[str, float | None]) -> dict[str, float]:
    """A step that hands on to the next."""
    return {"finished": drive.hop(body["finished"])}


async def last_step(body: dict[str, float | None]) -> None:
    """The step that ends a pipeline."""
    drive.hop(body["finished"])
    common.finished()


def connection(given: drive.Plan) -> Any:
    """A broker, in FastStream's word for its client."""
    return RabbitBroker(
        given.amqp_url, default_channel=Channel(prefetch_count=PREFETCH), logger=None, apply_types=False
    )


async def work(given: drive.Plan) -> None:
    """Consumes all five queues until the process is ended."""
    broker = connection(given)
    for number, queue in enumerate(QUEUES):
        subscriber = broker.subscriber(queue, ack_policy=AckPolicy.NACK_ON_ERROR)
        if number + 1 < drive.STEPS:
            publisher = broker.publisher(QUEUES[number + 1], persist=True)
            publisher(subscriber(step))
        else:
            subscriber(last_step)
    await broker.start()
    common.ready()
    await asyncio.Event().wait()


async def program(given: drive.Plan) -> None:
    """Starts the workers and submits."""
    with common.crew() as crew:
        async with connection(given) as broker:
            for queue in QUEUES:
                await broker.declare_queue(queue)
            crew.workers("benchmarks.peers.faststream_peer", given.workers)

            async def submit(count: int) -> None:
                publish = broker.publish
                await asyncio.gather(
                    *(publish({"finished": None}, queue=QUEUES[0], persist=True) for _ in range(count))
                )

            await drive.drive(given, submit, crew.finished)


if __name__ == "__main__":
    common.run(program, common.looped(work))
