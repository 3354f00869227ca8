"""Faults of the network between the factory and its servers, in the proxies."""

import asyncio

from tests import factories, proxy
from tests.chaos import servers
from tests.chaos.matrix import row
from tests.chaos.trial import Trial

STORM_SECONDS = 60.0


@row("23", "connections reset every 1 to 5 s for a minute", "proxy", limit=30.0)
async def resets(trial: Trial) -> None:
    await trial.staff()
    async with trial.load(rate=3.0):
        await trial.completed(40)
        left = STORM_SECONDS
        cuts = 0
        while left > 0:
            pause = trial.chance.uniform(1.0, 5.0)
            await asyncio.sleep(pause)
            left -= pause
            trial.proxies[trial.chance.choice((servers.RABBITMQ, servers.RABBITMQ, servers.POSTGRES))].cut()
            cuts += 1
        trial.inject(f"{cuts} resets of all connections to the broker or the database")
        trial.heal()
        await trial.progress(40)


@row("24", "half-open: nothing comes back from the broker for 60 s", "proxy", limit=30.0)
async def half_open(trial: Trial) -> None:
    await trial.staff()
    async with trial.load(rate=3.0):
        await trial.completed(40)
        way: proxy.Way = trial.chance.choice(proxy.WAYS)
        trial.inject(f"black hole, direction '{way}', for {STORM_SECONDS:g} s")
        trial.proxies[servers.RABBITMQ].hole(way)
        await asyncio.sleep(STORM_SECONDS)
        trial.proxies[servers.RABBITMQ].mend()
        trial.heal()
        await trial.progress(40)


@row("25", "latency of 200 ms with jitter, 40 kB/s, small slices", "proxy", limit=30.0)
async def slow(trial: Trial) -> None:
    await trial.staff()
    async with trial.load(rate=1.0, least=10):
        await trial.completed(20)
        trial.inject("200 ms and up to 100 ms more for each 4 KiB to and from the broker, for 40 s")
        trial.proxies[servers.RABBITMQ].pace = proxy.Pace(delay=0.2, jitter=0.1, rate=40_000, slice_bytes=4096)
        await trial.progress(10)
        await asyncio.sleep(40.0)
        trial.proxies[servers.RABBITMQ].mend()
        trial.heal()
        await trial.progress(20)
    await trial.drain()
    lapses = await trial.fetch("SELECT 1 FROM timeline WHERE kind = 'lease_lapsed'")
    trial.claim(len(lapses) <= 2, f"I9: {len(lapses)} leases lapsed though every worker lived")


@row("26", "connection cut after a publish was sent, before its confirm", "proxy, on the frame", quick=True, size=10)
async def unconfirmed(trial: Trial) -> None:
    traps = []
    for name in ("SubmitJob", "StageTask", "StageCompleted"):
        nth = trial.chance.randint(2, 6)
        traps.append(trial.proxies[servers.RABBITMQ].trap(name.encode(), nth))
        trial.inject(f"cut after {name} number {nth}")
    await trial.staff(workers=1)
    async with trial.load(rate=4.0):
        for trap in traps:
            async with asyncio.timeout(factories.PATIENCE):
                await trap.sprung.wait()
        trial.heal()
        await trial.progress(10)
