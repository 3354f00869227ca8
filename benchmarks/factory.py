"""The factory under load: one coordinator, two workers, a template of five no-op steps, all guarantees on.

``python -m benchmarks.factory`` is run by the harness with the plan and the FACTORY_* variables in its environment.
"""

import asyncio
import contextlib
import os
import sys
import uuid
from collections.abc import Sequence

import aiohttp
import uvloop

from benchmarks import children, drive
from contracts import encoding, templates, topology
from contracts.messages import SubmitJob
from contracts.tiers import Tier
from infra import broker, database, jobs, publisher, settings
from infra import templates as stored_templates
from tests.factories import free_port

TEMPLATE = "benchmark"
STAGE = "no_op"
CLIENT, TIER = "bench", Tier.ENTERPRISE
"""One client, as the others have one queue; what tiers do to each other is measured by itself."""

FINISHED = "SELECT count(*) FROM executions WHERE status = 'completed'"
CONCURRENCY = "64"

CONSUMERS, SCRAPED = "BENCH_CONSUMERS", "BENCH_SCRAPED"
"""Variables: the module that stands for ``consumers``; whether the processes' metrics are read each second."""

SCRAPE_SECONDS = 1.0


def pipeline(steps: int = drive.STEPS, seconds: float = 0.0, stage: str = STAGE) -> templates.Template:
    """Steps in a row, each given what the one before it made."""
    parameters = {"seconds": str(seconds)} if seconds else {}
    rows = [{"name": "s0", "stage": stage, "parameters": parameters}]
    for number in range(1, steps):
        before = f"s{number - 1}"
        rows.append(
            {
                "name": f"s{number}",
                "stage": stage,
                "depends_on": [before],
                "inputs": {"previous": before},
                "parameters": parameters,
            }
        )
    return templates.parse({"name": TEMPLATE, "steps": rows})


def commands(
    workers: int, coordinators: int = 1, concurrency: str = CONCURRENCY, stage: str = STAGE
) -> list[list[str]]:
    """What starts the factory's processes."""
    process = [sys.executable, "-m", os.environ.get(CONSUMERS, "consumers")]
    worker = [*process, "worker", stage, "--concurrency", concurrency]
    return [[*process, "coordinator"]] * coordinators + [worker] * workers


def job(client: str) -> bytes:
    """A job of this client, as it is published."""
    return encoding.encode(SubmitJob(submit_key=uuid.uuid4().hex, client=client, template=TEMPLATE))


async def _load(given: drive.Plan, configured: settings.Settings) -> None:
    async with (
        database.connect(configured.database_url, application="benchmark", size=1) as pool,
        broker.connect(configured.amqp_url, name="benchmark") as connection,
    ):
        async with pool.acquire() as session:
            await jobs.save_client(session, CLIENT, CLIENT, TIER, None)
            await stored_templates.apply(session, pipeline())
        giving = await connection.publisher()

        async def submit(number: int) -> None:
            await asyncio.gather(*(_publish(giving) for _ in range(number)))

        async def finished() -> int:
            return int(await pool.fetchval(FINISHED))

        started = commands(given.workers)
        ports = {free_port(): command for command in started} if SCRAPED in os.environ else {}
        seen = [[*command, "--health-port", str(port)] for port, command in ports.items()]
        with children.started(seen or started, dict(os.environ), configured.home / "factory.log"):
            scraping = asyncio.create_task(_scrape(list(ports)))
            await drive.drive(given, submit, finished)
            scraping.cancel()


async def _scrape(ports: Sequence[int]) -> None:
    """Reads what processes measure, as Prometheus would, for as long as there are any."""
    async with aiohttp.ClientSession() as session:
        while ports:
            await asyncio.sleep(SCRAPE_SECONDS)
            for port in ports:
                # A process that is still starting is asked again.
                with contextlib.suppress(aiohttp.ClientConnectorError):
                    async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                        await answer.read()


async def _publish(giving: publisher.Publisher) -> None:
    await giving.publish(topology.JOBS, topology.job_key(TIER), SubmitJob.__name__, job(CLIENT), user_id=giving.user)


if __name__ == "__main__":
    uvloop.run(_load(drive.plan(), settings.from_process()))
