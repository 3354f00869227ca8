"""A fan-out of many shards: that it joins once, and what its largest message and the coordinator's memory are."""

import asyncio
import collections
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil

from benchmarks import children, factory, idle
from contracts import encoding, templates, topology
from contracts.messages import SubmitJob
from contracts.tiers import Tier
from infra import broker, database, jobs
from infra import templates as stored_templates
from infra.delivery import Delivery
from infra.settings import Settings
from tests import factories

CLIENT = "fan"
TEMPLATE = "fan"
PATIENCE = 240.0
LOOK_SECONDS = 0.02
CONCURRENCY = "64"

STEPS: list[dict[str, Any]] = [
    {"name": "find", "stage": "fan", "parameters": {"records": "parameters.records"}},
    {"name": "read", "stage": "fan", "depends_on": ["find"], "fan_out": {"over": ["find"], "field": "record"}},
    {"name": "tell", "stage": "fan", "depends_on": ["read"], "inputs": {"upstream": "read"}},
]
STATUS = "SELECT status, explanation FROM executions WHERE submit_key = $1"
JOINED = "SELECT step, status, attempt, summary FROM step_executions WHERE shard = 0"
SHARDS = "SELECT status, count(*)::integer AS shards FROM step_executions WHERE shard > 0 GROUP BY status"
FAILED = ("partial", "failed", "cancelled")


class Ear:
    """Hears every task and event beside those who need them: how many of each step, and how large they are."""

    def __init__(self) -> None:
        self.tasks: collections.Counter[str] = collections.Counter()
        self.largest: collections.Counter[str] = collections.Counter()
        self.bytes = 0

    def hear(self, delivery: Delivery) -> None:
        """Takes in a copy of a message."""
        kind = delivery.type or ""
        self.largest[kind] = max(self.largest[kind], len(delivery.body))
        self.bytes += len(delivery.body)
        if kind == "StageTask":
            message = encoding.decode(kind, delivery.body)
            self.tasks[str(getattr(message, "step", ""))] += 1


class Scale:
    """Looks again and again at how many megabytes a process occupies."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.first = self.peak = self._megabytes()

    def _megabytes(self) -> float:
        return float(self._process.memory_info().rss) / 2**20

    async def run(self) -> None:
        """Goes on until it is cancelled."""
        while True:
            self.peak = max(self.peak, self._megabytes())
            await asyncio.sleep(LOOK_SECONDS)


@contextlib.asynccontextmanager
async def _beside(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def measure(stack: Settings, shards: int) -> dict[str, Any]:
    """Runs one execution that fans out to so many shards; raises AssertionError unless it joins exactly once."""
    worker = [*factory.commands(1)[1][:4], "fan", "--concurrency", CONCURRENCY]
    async with (
        idle.corner(stack) as place,
        broker.connect(place.settings.amqp_url, name="benchmark") as connection,
    ):
        await _prepare(place.pool)
        ear = Ear()
        queue = await connection.declare_reply_queue(((topology.STAGES, "#"), (topology.EVENTS, "#")))
        await connection.consume(queue, ear.hear, prefetch=0)
        with children.started([*factory.commands(0), worker], place.environment, place.log) as processes:
            # A small one first, so that the processes have loaded all they need.
            await _run(place.pool, connection, 10)
            assert ear.tasks.pop("tell") == 1
            before, scale = ear.bytes, Scale(processes[0].pid)
            async with _beside(scale.run()):
                seconds = await _run(place.pool, connection, shards)
        await _check(place.pool, shards)
        joins = ear.tasks["tell"]
    assert joins == 1, f"what follows the join was offered {joins} times"
    return {
        "shards": shards,
        "seconds": round(seconds, 2),
        "shards_per_second": round(shards / seconds),
        "joins": joins,
        "largest_message_bytes": dict(ear.largest),
        "message_bytes_per_shard": round((ear.bytes - before) / shards),
        "coordinator_rss_mb_before": round(scale.first, 1),
        "coordinator_rss_mb_peak": round(scale.peak, 1),
    }


async def _prepare(pool: database.Pool) -> None:
    parameters = [{"name": "records", "type": "integer", "default": 1}]
    async with pool.acquire() as session:
        await jobs.save_client(session, CLIENT, CLIENT, Tier.BASIC, None)
        await stored_templates.apply(
            session, templates.parse({"name": TEMPLATE, "parameters": parameters, "steps": STEPS})
        )


async def _run(pool: database.Pool, connection: broker.Connection, records: int) -> float:
    """Seconds from the publish of a job to the end of its execution, of which the rows of others are removed first."""
    await pool.execute("DELETE FROM executions")
    giving = await connection.publisher()
    job = SubmitJob(submit_key=f"fan-{records}", client=CLIENT, template=TEMPLATE, parameters={"records": records})
    began = time.monotonic()
    key = topology.job_key(Tier.BASIC)
    await giving.publish(topology.JOBS, key, SubmitJob.__name__, encoding.encode(job), user_id=giving.user)

    async def over() -> bool:
        row = await pool.fetchrow(STATUS, job.submit_key)
        assert row is None or row["status"] not in FAILED, row["explanation"]
        return row is not None and row["status"] == "completed"

    await factories.eventually(over, f"a fan-out of {records} is over", PATIENCE)
    return time.monotonic() - began


async def _check(pool: database.Pool, shards: int) -> None:
    steps = {row["step"]: row for row in await pool.fetch(JOINED)}
    assert {row["status"] for row in steps.values()} == {"completed"}, steps
    assert steps["read"]["summary"]["completed"] == shards
    assert steps["tell"]["summary"]["read"] == shards
    assert steps["tell"]["attempt"] == 1
    assert [tuple(row) for row in await pool.fetch(SHARDS)] == [("completed", shards)]
