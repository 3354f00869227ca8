"""How busy worker slots are under load: the share of their time in which the code of a stage runs.

Two workers of eight slots each do pipelines of five steps that take a fixed time; more pipelines are outstanding than
there are slots. The share is the time that stages ran, as the workers tell it of each step (``run_seconds``), over the
time of all slots. What is missing is the factory's: taking a task, storing its output, telling and acknowledging it.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks import children, drive, factory, idle
from contracts import encoding, topology
from contracts.messages import SubmitJob
from contracts.tiers import Tier
from infra import broker, jobs, publisher, templates
from infra.local import stack as servers
from infra.settings import Settings
from tests import factories

AIM = 0.85
WORKERS = 2
CONCURRENCY = 8
OUTSTANDING = 20
"""Pipelines for each slot: events are settled in batches, so tasks come in bursts, which the queues even out."""

WARM_STEPS = 10
"""For each slot; the window opens when they are done."""

AT_ONCE = 500
LOOK_SECONDS = 0.02

STORED = "SELECT count(*) FROM executions"
RUNNING = "SELECT count(*) FROM executions WHERE status = 'running'"
FIRST = "SELECT min(finished_at) FROM executions"
TIMES = """
SELECT client_id, tier, created_at, started_at, finished_at FROM executions
WHERE started_at IS NOT NULL AND ($1::text[] IS NULL OR client_id = ANY ($1::text[])) ORDER BY started_at, rank
"""
FINISHED = "SELECT count(*) FROM executions WHERE status = 'completed'"
DONE = "SELECT count(*) FROM step_executions WHERE status = 'completed'"
NOW = "SELECT clock_timestamp()"
RAN = """
SELECT count(*)::integer AS steps,
       sum((metrics ->> 'run_seconds')::double precision) AS run,
       sum((metrics ->> 'seconds')::double precision) AS whole
FROM step_executions WHERE status = 'completed' AND finished_at >= $1 AND finished_at < $2
"""

Processes: TypeAlias = list["subprocess.Popen[bytes]"]

Times = Sequence[Mapping[str, Any]]
"""When executions were stored, started and finished, and whose they are, in the order of their starts."""


@dataclasses.dataclass(frozen=True, slots=True)
class Client:
    """Somebody who submits, all of it with the same urgency."""

    name: str
    tier: Tier
    urgency: int = 5


CLIENTS = tuple(Client(tier.value, tier) for tier in Tier)


class Site:
    """A corner with a template of steps that take a fixed time, and a connection that submits jobs to it."""

    def __init__(self, place: idle.Corner, giving: publisher.Publisher) -> None:
        self.place = place
        self.pool = place.pool
        self._giving = giving

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, stack: Settings, slots: int, each: float, steps: int = drive.STEPS, stage: str = factory.STAGE
    ) -> AsyncIterator["Site"]:
        """A site for so many executions at a time; no process of it runs yet."""
        async with (
            idle.corner(stack, FACTORY_SLOTS=str(slots)) as place,
            broker.connect(place.settings.amqp_url, name="benchmark") as connection,
        ):
            async with place.pool.acquire() as session:
                await templates.apply(session, factory.pipeline(steps, each, stage))
            yield cls(place, await connection.publisher())

    def processes(
        self, commands: Sequence[Sequence[str]]
    ) -> contextlib.AbstractContextManager[list["subprocess.Popen[bytes]"]]:
        """Processes of the factory, ended at the end."""
        return children.started(commands, self.place.environment, self.place.log)

    async def add(self, clients: Sequence[Client]) -> None:
        """Adds clients."""
        async with self.pool.acquire() as session:
            for client in clients:
                await jobs.save_client(session, client.name, client.name, client.tier, None)

    async def submit(self, owners: Sequence[Client]) -> None:
        """Publishes a job for each of these; returns when all are confirmed."""
        for first in range(0, len(owners), AT_ONCE):
            await asyncio.gather(*map(self._publish, owners[first : first + AT_ONCE]))

    async def _publish(self, owner: Client) -> None:
        job = SubmitJob(
            submit_key=uuid.uuid4().hex, client=owner.name, template=factory.TEMPLATE, urgency=owner.urgency
        )
        key, body = topology.job_key(owner.tier), encoding.encode(job)
        await self._giving.publish(topology.JOBS, key, SubmitJob.__name__, body, user_id=self._giving.user)

    async def stored(self, number: int) -> None:
        """Returns when there are so many executions."""

        async def enough() -> bool:
            return bool(await self.pool.fetchval(STORED) >= number)

        await factories.eventually(enough, f"{number} jobs are stored", 60 + number / 50)

    async def first(self) -> datetime:
        """When the first execution finished, once there is one."""
        found: datetime = await factories.eventually(lambda: self.pool.fetchval(FIRST), "an execution is finished")
        return found

    async def looks(self, seconds: float) -> list[int]:
        """How many executions run, again and again for so many seconds."""
        found, until = [], asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            found.append(int(await self.pool.fetchval(RUNNING)))
            await asyncio.sleep(LOOK_SECONDS)
        return found

    async def times(self, names: Sequence[str] | None = None) -> Times:
        """The executions of these clients that were started, of all if none is named."""
        return [dict(row) for row in await self.pool.fetch(TIMES, names)]

    async def now(self) -> datetime:
        """The database's time."""
        found: datetime = await self.pool.fetchval(NOW)
        return found


async def measure(
    stack: Settings, seconds: float = 20.0, step_seconds: Sequence[float] = (0.05, 0.5)
) -> dict[str, Any]:
    """The busy share for steps that take so long each, by that time, over so many seconds once the load is on; and for
    a stage that says how long it takes, with tasks in one of its four queues only."""
    found = {f"{each:g} s": await _busy(stack, seconds, each, CLIENTS) for each in step_seconds}
    found["0.5 s, all of one tier"] = await _busy(stack, seconds, 0.5, CLIENTS[:1], "half_second")
    return {"workers": WORKERS, "slots": WORKERS * CONCURRENCY, "aim": AIM, "step_seconds": found}


async def _busy(
    stack: Settings, seconds: float, each: float, clients: Sequence[Client], stage: str = factory.STAGE
) -> dict[str, float]:
    async with Site.open(stack, 4000, each, stage=stage) as site:
        await site.add(clients)
        with site.processes(factory.commands(WORKERS, concurrency=str(CONCURRENCY), stage=stage)):
            loading = asyncio.create_task(_load(site, clients))
            try:
                return await _watch(site, seconds)
            finally:
                loading.cancel()
                await asyncio.gather(loading, return_exceptions=True)


async def _load(site: Site, clients: Sequence[Client]) -> None:
    """Keeps pipelines outstanding until it is cancelled."""
    turns, submitted = itertools.cycle(clients), 0
    while True:
        done = int(await site.pool.fetchval(FINISHED))
        wanted = max(0, done + OUTSTANDING * WORKERS * CONCURRENCY - submitted)
        await site.submit([next(turns) for _ in range(wanted)])
        submitted += wanted
        await asyncio.sleep(drive.FEED_SECONDS)


async def _watch(site: Site, seconds: float) -> dict[str, float]:
    slots = WORKERS * CONCURRENCY

    async def warm() -> bool:
        return bool(await site.pool.fetchval(DONE) >= WARM_STEPS * slots)

    await factories.eventually(warm, "the load is on")
    began = await site.now()
    await asyncio.sleep(seconds)
    ended = await site.now()
    (row,) = await site.pool.fetch(RAN, began, ended)
    whole = (ended - began).total_seconds()
    steps = max(1, row["steps"])
    return {
        "busy": round(row["run"] / (slots * whole), 4),
        "steps_per_second": round(steps / whole, 1),
        "run_milliseconds": round(1000 * row["run"] / steps, 2),
        "attempt_milliseconds": round(1000 * row["whole"] / steps, 2),
        "slot_milliseconds": round(1000 * slots * whole / steps, 2),
    }


def main() -> None:
    """Measures on servers of its own and prints what was found; the first argument is the seconds of each window."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    with tempfile.TemporaryDirectory() as folder, servers.temporary(Path(folder) / "servers") as stack:
        sys.stdout.write(json.dumps(asyncio.run(measure(stack, seconds)), indent=1) + "\n")


if __name__ == "__main__":
    main()
