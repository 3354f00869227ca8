"""The floor program: the same hops and the same durability as the factory, and nothing else.

A coordinator and two workers, three processes. It knows no retries, no duplicates, no leases, no fairness, no schema; a
batch of events is one insert, committed before their acknowledgement. It shows what the broker, the client library and
the database cost by themselves on this machine: ``python -m benchmarks.floor floor|floor-plain|floor-lean``.
"""

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterator

import asyncpg
import uvloop

from benchmarks import children, drive, wire

JOBS, EVENTS, TASKS = "floor.jobs", "floor.events", "floor.tasks"

TABLE = """
CREATE TABLE IF NOT EXISTS done (
    pipeline bigint NOT NULL,
    step smallint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, step)
);
CREATE INDEX IF NOT EXISTS finished ON done (pipeline) WHERE step = 4
"""
INSERT = "INSERT INTO done (pipeline, step) SELECT * FROM unnest($1::bigint[], $2::smallint[])"
FINISHED = "SELECT count(*) FROM done WHERE step = 4"


async def coordinate(given: drive.Plan, connect: wire.Connect) -> None:
    """Takes jobs and events in batches, commits them, and publishes the next tasks."""
    async with connect(given.amqp_url) as broker, asyncpg.create_pool(given.database_url, min_size=2) as pool:
        inbox = wire.Inbox()
        for queue in (JOBS, EVENTS):
            await broker.consume(queue, inbox)
        while True:
            bodies, tokens = await inbox.take()
            events = [json.loads(body) for body in bodies]
            await pool.execute(INSERT, [event["pipeline"] for event in events], [event["step"] for event in events])
            tasks = [{**event, "step": event["step"] + 1} for event in events if event["step"] < drive.STEPS - 1]
            await broker.publish(TASKS, [json.dumps(task).encode() for task in tasks])
            await broker.ack(tokens)


async def work(given: drive.Plan, connect: wire.Connect) -> None:
    """Does tasks: each is a no-op."""
    async with connect(given.amqp_url) as broker:
        inbox = wire.Inbox()
        await broker.consume(TASKS, inbox)
        while True:
            bodies, tokens = await inbox.take()
            events = []
            for body in bodies:
                task = json.loads(body)
                events.append(json.dumps({**task, "at": drive.hop(task["at"])}).encode())
            await broker.publish(EVENTS, events)
            await broker.ack(tokens)


@contextlib.contextmanager
def _processes(given: drive.Plan, name: str) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.floor", name]
    with children.started([[*command, "coordinate"], *([[*command, "work"]] * given.workers)]):
        yield


async def _load(given: drive.Plan, connect: wire.Connect, name: str) -> None:
    async with _database(given) as database, connect(given.amqp_url) as broker:
        for queue in (TASKS, EVENTS, JOBS):
            await broker.declare(queue)
        numbers = iter(range(sys.maxsize))

        async def submit(number: int) -> None:
            jobs = [{"pipeline": next(numbers), "step": -1, "at": None} for _ in range(number)]
            await broker.publish(JOBS, [json.dumps(job).encode() for job in jobs])

        async def finished() -> int:
            return int(await database.fetchval(FINISHED))

        with _processes(given, name):
            await drive.drive(given, submit, finished)


@contextlib.asynccontextmanager
async def _database(given: drive.Plan) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(given.database_url)
    try:
        await connection.execute(TABLE)
        yield connection
    finally:
        await connection.close()


def main() -> None:
    """Runs one process of the program, or all of it under load."""
    name, *role = sys.argv[1:]
    connect, given = wire.CONNECT[name], drive.plan()
    if role:
        uvloop.run({"coordinate": coordinate, "work": work}[role[0]](given, connect))
    else:
        uvloop.run(_load(given, connect, name))


if __name__ == "__main__":
    main()
