"""What a backlog of queued executions costs: taking in a job, admitting, the statements of all day, and memory."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psutil

from benchmarks import children, factory, idle
from consumers.coordinator import admitting
from consumers.coordinator.engine import tools
from consumers.coordinator.library import Library
from consumers.coordinator.transitions import State
from contracts import topology
from contracts.messages import SubmitJob
from contracts.tiers import Tier
from infra import (
    admission,
    broker,
    database,
    executions,
    expressions,
    jobs,
    leases,
    outbox,
    publisher,
    templates,
    timers,
)
from infra.settings import Settings
from tests import factories, filling

CLIENTS = 50
JOBS = 500
"""Jobs that are submitted at once, and executions that are admitted, for one figure."""

TURNS = 3
REPEATS = 20
PROBES = {f"probe-{tier.value}": tier for tier in Tier}
NOBODY = 2_000_000.0
"""An age in seconds that nothing has reached."""

STORED = "SELECT count(*) FROM executions WHERE client_id = ANY ($1) AND status = 'queued'"
FORGET = "DELETE FROM executions WHERE client_id = ANY ($1)"
BACK = "UPDATE executions SET status = 'queued', started_at = NULL WHERE status = 'running' AND client_id <> 'nobody'"
NO_STEPS = "DELETE FROM step_executions"
SIZE = "SELECT pg_total_relation_size('executions') / 1048576.0"
SOME = "SELECT id FROM executions WHERE status = 'queued' LIMIT $1"


async def measure(stack: Settings, sizes: Sequence[int], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """The figures at each size of the backlog, the smallest first.

    One slot, which is taken, so that a coordinator that takes jobs in admits none of them meanwhile.
    """
    found, stored = [], 0
    async with idle.corner(stack, FACTORY_SLOTS="1") as place:
        async with place.pool.acquire() as connection:
            await _prepare(connection)
        for size in sorted(sizes):
            async with place.pool.acquire() as connection:
                began = time.monotonic()
                await filling.executions(connection, factory.TEMPLATE, "queued", size - stored, of=CLIENTS)
                await connection.execute("VACUUM ANALYZE executions", timeout=filling.SECONDS)
                filled = time.monotonic() - began
            stored = size
            found.append({"queued": size, "fill_seconds": round(filled, 1), **await _figures(place)})
            say(f"{found[-1]}")
    return found


async def _prepare(connection: database.Connection) -> None:
    await templates.apply(connection, factory.pipeline())
    await filling.clients(connection, CLIENTS)
    for name, tier in (*PROBES.items(), ("nobody", Tier.BASIC)):
        await jobs.save_client(connection, name, name, tier, None)
    await filling.executions(connection, factory.TEMPLATE, "running", 1, of=1)
    await connection.execute("UPDATE executions SET client_id = 'nobody'")


async def _figures(place: idle.Corner) -> dict[str, Any]:
    submitted, megabytes = await _submit(place)
    async with place.pool.acquire() as connection:
        await connection.execute(FORGET, list(PROBES))
        times = await _statements(connection)
        size = await connection.fetchval(SIZE)
    return {
        "submitted_per_second": submitted,
        "admitted_per_second": await _admit(place.pool),
        "coordinator_rss_mb": megabytes,
        "statement_ms": times,
        "executions_mb": round(float(size), 1),
    }


async def _submit(place: idle.Corner) -> tuple[float, float]:
    """Jobs taken in a second by one coordinator, from the first publish to the last commit, and its megabytes then."""
    with children.started(factory.commands(0), place.environment, place.log) as processes:
        async with broker.connect(place.settings.amqp_url, name="benchmark") as connection:
            giving = await connection.publisher()
            rates = [await _taken(place.pool, giving, turn) for turn in range(TURNS + 1)]
        (process,) = processes
        megabytes = psutil.Process(process.pid).memory_info().rss / 2**20
    # The first ones wait for the process to start.
    return round(statistics.median(rates[1:])), round(megabytes, 1)


async def _taken(pool: database.Pool, giving: publisher.Publisher, turn: int) -> float:
    began = time.monotonic()
    turns = itertools.cycle(PROBES.items())
    await asyncio.gather(*(_publish(giving, *next(turns)) for _ in range(JOBS)))

    async def stored() -> bool:
        return int(await pool.fetchval(STORED, list(PROBES))) >= (turn + 1) * JOBS

    await factories.eventually(stored, f"{JOBS} jobs are taken in")
    return JOBS / (time.monotonic() - began)


async def _publish(giving: publisher.Publisher, client: str, tier: Tier) -> None:
    key = topology.job_key(tier)
    await giving.publish(topology.JOBS, key, SubmitJob.__name__, factory.job(client), user_id=giving.user)


async def _admit(pool: database.Pool) -> float:
    """Executions admitted in a second, in rounds of a hundred; the backlog is as before afterwards."""
    state = State(pool, Library(), tools.Tools(evaluate=expressions.value, random=lambda: 0.5))
    rates = []
    for _ in range(TURNS):
        began, admitted = time.monotonic(), 0
        while admitted < JOBS:
            outcome, _ = await admitting.admit(state, JOBS + 1)
            if not outcome.tasks:
                break
            admitted += len(outcome.tasks)
        rates.append(admitted / (time.monotonic() - began))
        async with pool.acquire() as connection:
            await connection.execute(NO_STEPS)
            await connection.execute(BACK)
    return round(statistics.median(rates))


async def _statements(connection: database.Connection) -> dict[str, float]:
    """Milliseconds of each statement, the median of some."""
    some = [row["id"] for row in await connection.fetch(SOME, 100)]
    clients = [f"client-{number}" for number in range(CLIENTS)]
    works: dict[str, Callable[[], Awaitable[object]]] = {
        "admission.running": lambda: admission.running(connection),
        "admission.heads": lambda: admission.heads(connection, 4),
        "jobs.queued_ahead": lambda: jobs.queued(connection, clients),
        "jobs.find_submitted": lambda: jobs.submitted(connection, [(client, "none") for client in clients]),
        "executions.lock_executions": lambda: executions.lock(connection, some),
        "executions.step_versions": lambda: executions.step_versions(connection, some),
        "leases.unpublished": lambda: leases.unpublished(connection, 15.0, 500),
        "leases.lapsed": lambda: leases.lapsed(connection, 30.0, 500),
        "leases.overdue": lambda: leases.overdue(connection, 60.0, 500),
        "leases.unheld": lambda: leases.unheld(connection, 60.0, 500),
        "leases.live_cancels": lambda: leases.live_cancels(connection, 3600.0, 500),
        "timers.due": lambda: timers.due(connection, 500),
        "outbox.claim_owed": lambda: outbox.claim(connection, NOBODY, 500),
    }
    return {name: await _milliseconds(work) for name, work in works.items()}


async def _milliseconds(work: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        await work()
        times.append(time.perf_counter() - began)
    return round(1000 * statistics.median(times), 2)
