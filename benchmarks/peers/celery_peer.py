"""Celery on RabbitMQ with its result backend in Postgres: chains of five tasks.

Durable: quorum queues, persistent messages, publisher confirms, late acknowledgement (also if a process of the pool is
lost): a message is acknowledged only after the task that follows was confirmed and the result is committed to Postgres.
A crash of a worker or of the broker loses nothing; a step may run twice. Each task's result can be queried later; no
table knows of the chain. Events, gossip, mingling, remote control and rate limits are off, connections are not probed
before use. The prefork pool is the fastest here: in the others the Postgres backend connects anew for each result.
"""

import os
import sys
from typing import Any

import celery
from celery import signals

from benchmarks import drive
from benchmarks.peers import common

DURABLE = True

POOL = os.environ.get("BENCH_CELERY_POOL", "prefork")
CONCURRENCY = os.environ.get("BENCH_CELERY_CONCURRENCY", "4")
QUEUES = [f"step-{number}" for number in range(drive.STEPS)]
PREFETCH = 4
"""Messages that a pool process has at hand."""


def step(finished: float | None) -> float:
    """A step that hands on to the next."""
    return drive.hop(finished)


def last_step(finished: float | None) -> None:
    """The step that ends a pipeline."""
    drive.hop(finished)
    common.finished()


def application(given: drive.Plan) -> Any:
    """The Celery application, in the program and in its workers."""
    app = celery.Celery(
        "bench", broker=given.amqp_url, backend="db+" + common.sqlalchemy_url(given, "psycopg2"), set_as_current=True
    )
    app.conf.update(
        broker_connection_retry_on_startup=True,
        broker_transport_options={"confirm_publish": True},
        database_engine_options={"pool_pre_ping": False},
        task_acks_late=True,
        task_default_queue_type="quorum",
        task_create_missing_queue_type="quorum",
        task_reject_on_worker_lost=True,
        worker_disable_rate_limits=True,
        worker_enable_remote_control=False,
        worker_prefetch_multiplier=PREFETCH,
        worker_send_task_events=False,
    )
    return app


def pipeline(app: Any) -> Any:
    """The chain of tasks that is a pipeline."""
    functions = [step] * (drive.STEPS - 1) + [last_step]
    first, *others = [
        app.task(function, name=queue, queue=queue) for function, queue in zip(functions, QUEUES, strict=True)
    ]
    return celery.chain(first.s(None), *(task.s() for task in others))


def work(given: drive.Plan) -> None:
    """Runs a Celery worker until the process is ended."""
    app = application(given)
    pipeline(app)
    signals.worker_ready.connect(lambda **_: common.ready(), weak=False)
    # The processes of the pool are forked, and what end_with_parent() asks for does not reach them.
    signals.worker_process_init.connect(lambda **_: common.end_with_parent(), weak=False)
    name = f"worker-{os.environ['BENCH_WORKER']}@%h"
    options = ["--pool", POOL, "--concurrency", CONCURRENCY, "--hostname", name, "--queues", ",".join(QUEUES)]
    app.worker_main(["worker", "--loglevel=ERROR", "--without-gossip", "--without-mingle", *options])


async def program(given: drive.Plan) -> None:
    """Starts the workers and submits."""
    app = application(given)
    chain = pipeline(app)

    def submit(count: int) -> None:
        for _ in range(count):
            chain.apply_async()

    with common.crew() as crew:
        crew.workers("benchmarks.peers.celery_peer", given.workers)
        await drive.drive(given, common.Submitter(submit), crew.finished)


if __name__ == "__main__":
    sys.argv[1:] = sys.argv[1:2]
    common.run(program, work)
