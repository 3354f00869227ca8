"""DBOS on Postgres: a workflow of five steps, taken by the worker processes from a DBOS queue.

Durable: a workflow's enqueuing, each step's result and the workflow's end are each committed to Postgres before the
next thing begins. After a crash a worker with the same executor id (or an administrator's command) takes its workflows
up after the last finished step; steps run at least once. The state of every workflow and step can be queried later.
No broker takes part. Enqueuing is done many to a transaction, as DBOS's client allows; connections are not probed
before use (`pool_pre_ping`), which spares a third of the time.
"""

import os
import threading
from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSClient

from benchmarks import drive
from benchmarks.peers import common

DURABLE = True

NAME = "bench"
QUEUE = "pipelines"
CONCURRENCY = int(os.environ.get("BENCH_DBOS_CONCURRENCY", "16"))
"""Workflows that a worker runs at once, each in a thread: with more, threads only wait for each other."""

POLLING_SECONDS = float(os.environ.get("BENCH_DBOS_POLLING", "0.05"))


def _step(finished: float | None) -> float:
    return drive.hop(finished)


def _pipeline() -> None:
    finished = None
    for _ in range(drive.STEPS):
        finished = step(finished)
    common.finished()


step = DBOS.step(name="step")(_step)
pipeline = DBOS.workflow(name="pipeline")(_pipeline)


def configured(given: drive.Plan, number: int) -> None:
    """Sets DBOS up in this process; ``number`` tells the processes apart."""
    DBOS(
        config={
            "name": NAME,
            "system_database_url": given.database_url,
            "db_engine_kwargs": {"pool_pre_ping": False},
            "sys_db_pool_size": CONCURRENCY + 4,
            "max_executor_threads": CONCURRENCY + 4,
            "application_version": NAME,
            "executor_id": f"worker-{number}",
            "log_level": "WARNING",
        }
    )


def work(given: drive.Plan) -> None:
    """Runs workflows from the queue until the process is ended."""
    configured(given, int(os.environ["BENCH_WORKER"]))
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=CONCURRENCY, polling_interval_sec=POLLING_SECONDS)
    common.ready()
    threading.Event().wait()


class Client:
    """Enqueues pipelines."""

    def __init__(self, given: drive.Plan) -> None:
        self._engine = sqlalchemy.create_engine(common.sqlalchemy_url(given, "psycopg"))
        self._client: Any = DBOSClient(system_database_engine=self._engine, application_name=NAME)

    def enqueue(self, count: int) -> None:
        """Enqueues ``count`` pipelines in one transaction."""
        options = {"queue_name": QUEUE, "workflow_name": "pipeline", "app_version": NAME}
        with self._engine.begin() as connection:
            for _ in range(count):
                self._client.enqueue_in_transaction(connection, options)


async def program(given: drive.Plan) -> None:
    """Starts the workers and submits."""
    with common.crew() as crew:
        crew.workers("benchmarks.peers.dbos_peer", given.workers)
        client = Client(given)
        await drive.drive(given, common.Submitter(client.enqueue, threads=2), crew.finished)


if __name__ == "__main__":
    common.run(program, work)
