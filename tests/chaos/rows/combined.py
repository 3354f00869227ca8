"""Everything together: the recovery of each part after kill -9, a flooded tier, and the long storm."""

import asyncio
import statistics
import time

from tests.chaos import crew, load, servers
from tests.chaos.matrix import row
from tests.chaos.trial import Trial

RECOVERY = 30.0
FLOOD = 10
SLOWER = 4.0


async def _recovers(trial: Trial, name: str) -> None:
    await trial.staff()
    async with trial.load():
        await trial.completed(60)
        trial.inject(f"kill -9 of every {name}" if name in (crew.COORDINATOR, crew.WORKER) else f"kill -9 of {name}")
        if name in servers.NAMES:
            await trial.servers.kill(name)
            trial.heal()
            await trial.servers.start(name)
        else:
            for member in trial.crew.of(name):
                member.kill()
            trial.heal()
        await trial.progress(60)


@row("47a", "recovery after kill -9 of the coordinator", "kill -9", limit=RECOVERY)
async def coordinator(trial: Trial) -> None:
    await _recovers(trial, crew.COORDINATOR)


@row("47b", "recovery after kill -9 of all workers", "kill -9", limit=RECOVERY)
async def worker(trial: Trial) -> None:
    await _recovers(trial, crew.WORKER)


@row("47c", "recovery after kill -9 of the broker, its start included", "kill -9", own=True, limit=RECOVERY)
async def broker(trial: Trial) -> None:
    await _recovers(trial, servers.RABBITMQ)


@row("47d", "recovery after kill -9 of Postgres, its start included", "kill -9", own=True, limit=RECOVERY)
async def database(trial: Trial) -> None:
    await _recovers(trial, servers.POSTGRES)


@row("47e", "recovery after kill -9 of the S3 server, its start included", "kill -9", own=True, limit=RECOVERY)
async def store(trial: Trial) -> None:
    await _recovers(trial, servers.S3)


@row("48", "one tier flooded ten times over", "load")
async def flooded(trial: Trial) -> None:
    trial.crew.coordinator(environment={"FACTORY_SLOTS": "8"})
    trial.crew.worker()
    async with trial.load(rate=2.0):
        await trial.completed(100)
        before = await _p95(trial)
        trial.inject(f"{FLOOD} times the load from the basic tier")
        flood = load.Load(trial.factory.environment["FACTORY_AMQP_URL"], trial.ledger, trial.chance, ("acme",))
        flooding = asyncio.create_task(flood.run(2.0 * FLOOD, 100, lambda: "chain", most=100))
        await asyncio.sleep(10.0)
        during = await _p95(trial)
        await flooding
        trial.heal()
    trial.injected.append(f"p95 of the other tiers {before:.1f} s before, {during:.1f} s during the flood")
    bounded = during <= max(2.0, SLOWER * before)
    trial.claim(bounded, f"I8: p95 of the other tiers rose from {before:.1f} to {during:.1f} s")


async def _p95(trial: Trial) -> float:
    rows = await trial.fetch(
        "SELECT extract(epoch FROM coalesce(finished_at, clock_timestamp()) - created_at)::float8 AS seconds "
        "FROM executions WHERE tier <> 'basic' AND created_at > clock_timestamp() - interval '10 seconds'"
    )
    seconds = sorted(row_["seconds"] for row_ in rows)
    return statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 1 else 0.0


async def storm(trial: Trial, minutes: float) -> None:
    """Random kills, freezes, restarts and cuts for so many minutes, with work under way all the time."""
    until = time.monotonic() + 60.0 * minutes
    while time.monotonic() < until:
        await asyncio.sleep(trial.chance.uniform(4.0, 12.0))
        await _strike(trial, trial.chance.choice(BLOWS))
    trial.heal()


BLOWS = (
    *("kill coordinator", "kill worker", "freeze coordinator", "freeze worker", "cut rabbitmq", "cut postgres"),
    *("restart rabbitmq", "restart postgres", "restart s3", "freeze rabbitmq", "freeze postgres", "hole rabbitmq"),
)


async def _strike(trial: Trial, blow: str) -> None:
    trial.inject(blow)
    what, whom = blow.split()
    seconds = trial.chance.uniform(0.5, 12.0)
    match what, whom:
        case "kill", role:
            trial.crew.any(role, trial.chance).kill()
        case "freeze", ("coordinator" | "worker") as role:
            member = trial.crew.any(role, trial.chance)
            member.freeze()
            await asyncio.sleep(seconds)
            member.thaw()
        case "freeze", server:
            trial.servers.freeze(server)
            await asyncio.sleep(seconds)
            trial.servers.thaw(server)
        case "restart", server:
            await trial.servers.kill(server)
            await asyncio.sleep(seconds / 3)
            await trial.servers.start(server)
        case "cut", server:
            trial.proxies[server].cut()
        case "hole", server:
            trial.proxies[server].hole(trial.chance.choice(("there", "back")))
            await asyncio.sleep(seconds)
            trial.proxies[server].mend()
        case _:
            raise AssertionError(f"'{blow}' is no blow")
