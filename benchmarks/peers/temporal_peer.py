"""Temporal: a workflow of five activities on its development server, which keeps its state in an SQLite file.

Durable: each event of a workflow (scheduled, started, completed, ...) is committed to the file before the next thing
begins, and the file is synchronised at each commit (`synchronous=FULL` with a write-ahead log). After a crash the
server goes on from the file; activities run at least once. Every workflow's history can be queried later. No broker
and no Postgres take part. The development server is not how Temporal is meant to run in production, but a server of
the same version on Postgres 18, tried beside it on two cores, was no faster. Its program, `temporal`, is no wheel: it
is looked for where BENCH_TEMPORAL says, next to the interpreter, on PATH.
"""

import asyncio
import os
import shutil
import socket
import sys
import uuid
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks import drive
from benchmarks.peers import common

DURABLE = True

QUEUE = "pipelines"
MODULE = "benchmarks.peers.temporal_peer"
ADDRESS = "BENCH_TEMPORAL_ADDRESS"
START_SECONDS = 60
ACTIVITIES = 100
"""Activities and workflow tasks that a worker has at hand."""

POLLS = 4

SETTINGS = [
    ("--sqlite-pragma", "journal_mode=WAL"),
    ("--sqlite-pragma", "synchronous=FULL"),
    ("--dynamic-config-value", "system.enableActivityEagerExecution=true"),
    # Partitions serve many machines; with two workers they only forward to each other.
    ("--dynamic-config-value", "matching.numTaskqueueReadPartitions=1"),
    ("--dynamic-config-value", "matching.numTaskqueueWritePartitions=1"),
]


async def _step(finished: float | None) -> float:
    return drive.hop(finished)


async def _last_step(finished: float | None) -> None:
    drive.hop(finished)
    common.finished()


step = activity.defn(name="step")(_step)
last_step = activity.defn(name="last_step")(_last_step)


@workflow.defn
class Pipeline:
    """The workflow that is a pipeline."""

    async def run(self) -> None:
        """Runs one activity after the other."""
        finished = None
        for number in range(drive.STEPS):
            chosen = step if number + 1 < drive.STEPS else last_step
            finished = await workflow.execute_activity(chosen, finished, start_to_close_timeout=timedelta(minutes=1))

    workflow.run(run)


async def work(given: drive.Plan) -> None:
    """Polls until the process is ended."""
    worker = Worker(
        await Client.connect(os.environ[ADDRESS]),
        task_queue=QUEUE,
        workflows=[Pipeline],
        activities=[step, last_step],
        max_cached_workflows=10_000,
        max_concurrent_activities=ACTIVITIES,
        max_concurrent_workflow_tasks=ACTIVITIES,
        max_concurrent_activity_task_polls=POLLS,
        max_concurrent_workflow_task_polls=POLLS,
        # The workflow is this file's own and deterministic; the sandbox would import it anew for each pipeline.
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        common.ready()


def found() -> str:
    """The path of Temporal's command; ends the process, saying so, where there is none."""
    beside = Path(sys.executable).with_name("temporal")
    program = os.environ.get("BENCH_TEMPORAL") or (str(beside) if beside.exists() else shutil.which("temporal"))
    return program or sys.exit("Temporal is left out: there is no `temporal` in this environment and none on PATH")


def server(port: str, file: str) -> None:
    """Becomes the development server; ends with the program, because that holds across exec."""
    common.end_with_parent()
    program = found()
    options = ["--port", port, "--db-filename", file, "--headless", "--log-level", "error"]
    settings = [word for option, value in SETTINGS for word in (option, value)]
    os.execv(program, [program, "server", "start-dev", "--ip", "127.0.0.1", *options, *settings])


def free_port() -> int:
    """A port that nothing listens on at present."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def connected(crew: common.Crew, address: str) -> Client:
    """A client, once the server answers."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                return await Client.connect(address)
            except RuntimeError:
                # It raises if the server has ended; while it only starts, nothing tells when it will answer.
                await crew.finished()
                await asyncio.sleep(drive.TELL_SECONDS)


async def program(given: drive.Plan) -> None:
    """Starts the server and the workers, and submits."""
    found()
    with common.crew() as crew:
        port = free_port()
        os.environ[ADDRESS] = address = f"127.0.0.1:{port}"
        crew.start(MODULE, "server", str(port), str(crew.tally.with_name("temporal.db")))
        client = await connected(crew, address)
        crew.workers(MODULE, given.workers)

        async def submit(count: int) -> None:
            start = client.start_workflow
            await asyncio.gather(*(start("Pipeline", id=uuid.uuid4().hex, task_queue=QUEUE) for _ in range(count)))

        await drive.drive(given, submit, crew.finished)


if __name__ == "__main__":
    if sys.argv[1:2] == ["server"]:
        server(*sys.argv[2:])
    common.run(program, common.looped(work))
