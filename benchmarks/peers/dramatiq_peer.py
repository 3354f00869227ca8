"""Dramatiq on RabbitMQ: pipelines of five actors.

Durable: quorum queues, persistent messages, publisher confirms, and a message is acknowledged only after the broker
confirmed the one that follows from it (Dramatiq's Pipelines middleware publishes inside the processing of a message).
A crash of a worker or of the broker loses nothing; a step may run twice. There is no state beside the queues: no
record of a pipeline, and no result, because no result backend is asked for. Middleware that no-op steps have no use
for (time limits, age limits, callbacks, ...) is left out; retries stay.
"""

import os
import threading
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.middleware import Pipelines, Retries

from benchmarks import drive
from benchmarks.peers import common

DURABLE = True

THREADS = int(os.environ.get("BENCH_DRAMATIQ_THREADS", "16"))
"""Threads of a worker process: they wait for confirms at the same time."""

PREFETCH = 2 * THREADS
QUEUES = [f"step-{number}" for number in range(drive.STEPS)]


def step(finished: float | None) -> float:
    """A step that hands on to the next."""
    return drive.hop(finished)


def last_step(finished: float | None) -> None:
    """The step that ends a pipeline."""
    drive.hop(finished)
    common.finished()


def connection(given: drive.Plan) -> Any:
    """A broker, in Dramatiq's word for its client."""
    broker = RabbitmqBroker(url=given.amqp_url, confirm_delivery=True, middleware=[Retries(), Pipelines()])
    arguments = broker._build_queue_arguments
    # Dramatiq has no setting for the type of its queues; this is where it decides about their arguments.
    broker._build_queue_arguments = lambda queue: {**arguments(queue), "x-queue-type": "quorum"}
    return broker


def actors(broker: Any) -> list[Any]:
    """The five steps as actors, in order."""
    functions = [step] * (drive.STEPS - 1) + [last_step]
    return [
        dramatiq.actor(function, actor_name=queue, broker=broker, queue_name=queue)
        for function, queue in zip(functions, QUEUES, strict=True)
    ]


def work(given: drive.Plan) -> None:
    """Consumes until the process is ended."""
    os.environ.setdefault("dramatiq_queue_prefetch", str(PREFETCH))
    broker = connection(given)
    actors(broker)
    dramatiq.Worker(broker, worker_threads=THREADS).start()
    common.ready()
    threading.Event().wait()


async def program(given: drive.Plan) -> None:
    """Starts the workers and submits."""
    broker = connection(given)
    first, *others = actors(broker)

    def submit(count: int) -> None:
        for _ in range(count):
            messages = [first.message(None), *(actor.message() for actor in others)]
            dramatiq.pipeline(messages, broker=broker).run()

    with common.crew() as crew:
        for queue in QUEUES:
            broker.declare_queue(queue, ensure=True)
        crew.workers("benchmarks.peers.dramatiq_peer", given.workers)
        await drive.drive(given, common.Submitter(submit), crew.finished)


if __name__ == "__main__":
    common.run(program, work)
