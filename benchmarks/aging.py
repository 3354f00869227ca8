"""What an execution leaves in Postgres, and what it costs the others to remove many old ones."""

import asyncio
import contextlib
import dataclasses
import datetime
import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from benchmarks import children, drive, factory, idle
from contracts import topology
from contracts.messages import SubmitJob
from contracts.tiers import Tier
from infra import broker, database, jobs, publisher
from infra import templates as stored_templates
from infra.settings import Settings
from tests import factories, filling

PIPELINES = 500
WINDOW = 200
"""Pipelines kept outstanding while old executions are removed."""

SECONDS_EACH = 12.0
TURNS = 2
WARM_SECONDS = 4.0
FEED_SECONDS = 0.05
PATIENCE = 240.0
OLD_DAYS = (300.0, 100.0)
SLOTS = "4000"
KEPT_DAYS = "90"

COMPLETED = "SELECT count(*) FROM executions WHERE created_at > $1 AND status = 'completed'"
OLD_LEFT = "SELECT count(*) FROM executions WHERE created_at < now() - interval '90 days'"
SIZES = """
SELECT coalesce(p.inhparent::regclass::text, c.relname) AS name, sum(pg_table_size(c.oid))::bigint AS rows,
       sum(pg_indexes_size(c.oid))::bigint AS indexes
FROM pg_class c LEFT JOIN pg_inherits p ON p.inhrelid = c.oid
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
    AND coalesce(p.inhparent::regclass::text, c.relname) = ANY ($1)
GROUP BY 1
"""
TABLES = ("executions", "step_executions", "timeline", "deliverables")


@dataclasses.dataclass(slots=True)
class Load:
    """Pipelines that one publisher keeps outstanding."""

    pool: database.Pool
    giving: publisher.Publisher
    began: datetime.datetime
    submitted: int = 0

    async def publish(self, number: int) -> None:
        """Submits so many pipelines, of all tiers in turn."""
        turns = itertools.islice(itertools.cycle(Tier), self.submitted, self.submitted + number)
        self.submitted += number
        await asyncio.gather(*(self._publish(tier) for tier in turns))

    async def _publish(self, tier: Tier) -> None:
        key, body = topology.job_key(tier), factory.job(tier.value)
        await self.giving.publish(topology.JOBS, key, SubmitJob.__name__, body, user_id=self.giving.user)

    async def done(self) -> int:
        """How many pipelines are completed."""
        return int(await self.pool.fetchval(COMPLETED, self.began))

    async def feed(self) -> None:
        """Goes on until it is cancelled."""
        while True:
            if (missing := await self.done() + WINDOW - self.submitted) > 0:
                await self.publish(missing)
            await asyncio.sleep(FEED_SECONDS)

    async def steps_per_second(self) -> float:
        """Steps finished a second."""
        began, before = time.monotonic(), await self.done()
        await asyncio.sleep(SECONDS_EACH)
        return drive.STEPS * (await self.done() - before) / (time.monotonic() - began)


@contextlib.asynccontextmanager
async def _feeding(load: Load) -> AsyncIterator[None]:
    task = asyncio.create_task(load.feed())
    try:
        await asyncio.sleep(WARM_SECONDS)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def measure(stack: Settings, old: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Bytes for each finished pipeline, then steps a second without and with the removal of so many old executions."""
    async with (
        idle.corner(stack, FACTORY_SLOTS=SLOTS, FACTORY_RETENTION_DAYS="0") as place,
        broker.connect(place.settings.amqp_url, name="benchmark") as connection,
    ):
        async with place.pool.acquire() as session:
            for tier in Tier:
                await jobs.save_client(session, tier.value, tier.value, tier, None)
            await stored_templates.apply(session, factory.pipeline())
        giving = await connection.publisher()
        weight = await _weigh(place, giving)
        say(f"bytes: {weight}")
        async with place.pool.acquire() as session:
            await filling.clients(session, 50)
            await filling.executions(session, factory.TEMPLATE, "completed", old, days=OLD_DAYS)
            await session.execute("DELETE FROM executions WHERE created_at > now() - interval '1 day'")
            await filling.steps(session, "completed", "completed")
            await session.execute("VACUUM ANALYZE", timeout=filling.SECONDS)
        removal = await _remove(place, giving, old)
        say(f"retention: {removal}")
    return {"bytes_per_execution": weight, "retention": removal}


async def _load(pool: database.Pool, giving: publisher.Publisher) -> Load:
    return Load(pool, giving, await pool.fetchval("SELECT clock_timestamp()"))


async def _weigh(place: idle.Corner, giving: publisher.Publisher) -> dict[str, Any]:
    """Bytes of rows and of indexes, dead versions of rows included, by table; the empty tables' own are left out."""
    before = await _sizes(place.pool)
    load = await _load(place.pool, giving)
    with children.started(factory.commands(2), place.environment, place.log):
        await load.publish(PIPELINES)

        async def done() -> bool:
            return await load.done() == PIPELINES

        await factories.eventually(done, f"{PIPELINES} pipelines are completed", PATIENCE)
    after = await _sizes(place.pool)
    tables = {name: round((after[name] - before[name]) / PIPELINES) for name in after}
    return {"steps": drive.STEPS, "total": sum(tables.values()), **tables}


async def _sizes(pool: database.Pool) -> dict[str, int]:
    return {row["name"]: row["rows"] + row["indexes"] for row in await pool.fetch(SIZES, list(TABLES))}


async def _remove(place: idle.Corner, giving: publisher.Publisher, old: int) -> dict[str, Any]:
    """The same load on a coordinator that keeps everything, and on one that removes what is old meanwhile."""
    steps: dict[str, list[int]] = {"0": [], KEPT_DAYS: []}
    rates: list[int] = []
    for days in list(steps) * TURNS:
        load = await _load(place.pool, giving)
        environment = {**place.environment, "FACTORY_RETENTION_DAYS": days}
        with children.started(factory.commands(2), environment, place.log):
            async with _feeding(load):
                left = int(await place.pool.fetchval(OLD_LEFT))
                steps[days].append(round(await load.steps_per_second()))
                rates.append(round((left - int(await place.pool.fetchval(OLD_LEFT))) / SECONDS_EACH))
    assert all(rates[1::2]), f"executions removed a second, which should be many every other time: {rates}"
    return {
        "old_executions": old,
        "removed_per_second": rates[1::2],
        "steps_per_second_without": steps["0"],
        "steps_per_second_during": steps[KEPT_DAYS],
    }
