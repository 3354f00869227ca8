"""Faults of the network between the factory and its servers, in the proxies."""

import asyncio
import dataclasses
import time

import psutil

from tests import factories, proxy
from tests.chaos import levers, servers
from tests.chaos.matrix import row
from tests.chaos.trial import Trial

STORM_SECONDS = 60.0

FIRST_CUTS, MORE_CUTS = 5, 15
LOOKS, LOOK_SECONDS = 12, 1.0
PATIENCE = 90.0
"""The broker's API counts every five seconds."""


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


@row("23b", "what processes hold after twenty cuts", "proxy, /proc, management API", limit=30.0)
async def bounded(trial: Trial) -> None:
    await trial.staff(workers=1)
    async with trial.load(rate=3.0, most=4000):
        await _cut(trial, FIRST_CUTS)
        before = await _least_held(trial)
        await _cut(trial, MORE_CUTS)
        after = await _least_held(trial)
        trial.heal()
        await trial.progress(40)
    trial.inject(f"{FIRST_CUTS + MORE_CUTS} cuts, after {FIRST_CUTS} and at the end: " + after.beside(before))
    trial.claim(after.bounded_by(before), f"I10: more is held after {MORE_CUTS} more cuts: {after.beside(before)}")
    trial.claim(all(not member.deaths for member in trial.crew.members), "a process ended and hid what it held")


async def _cut(trial: Trial, times: int) -> None:
    for _ in range(times):
        for name in (servers.RABBITMQ, servers.POSTGRES):
            trial.proxies[name].cut()
        await trial.progress(10)


@dataclasses.dataclass(frozen=True)
class Held:
    """What the processes of a trial hold together, and the broker and the database for them; megabytes of memory."""

    descriptors: int
    threads: int
    memory: int
    connections: int
    channels: int
    sessions: int

    def beside(self, other: "Held") -> str:
        """Both, for a person."""
        return ", ".join(
            f"{field.name} {getattr(other, field.name)} and {getattr(self, field.name)}"
            for field in dataclasses.fields(self)
        )

    def bounded_by(self, other: "Held") -> bool:
        """Whether nothing grew by what each cut would add if it left anything behind."""
        least = dataclasses.astuple(other)
        return all(now <= then + MORE_CUTS // 2 for now, then in zip(dataclasses.astuple(self), least, strict=True))


async def _least_held(trial: Trial) -> Held:
    """The least of each that is held within some seconds: what is in use for a moment is not kept.

    The broker's management lags: a look at which it does not know the connections of all processes yet tells nothing.
    """
    seen: list[tuple[int, ...]] = []
    until = time.monotonic() + PATIENCE
    while len(seen) < LOOKS:
        held = await _held(trial)
        assert time.monotonic() < until, f"{len(trial.crew.members)} processes, {held.connections} connections: too few"
        if held.connections >= 2 * len(trial.crew.members):
            seen.append(dataclasses.astuple(held))
        await asyncio.sleep(LOOK_SECONDS)
    return Held(*(min(values) for values in zip(*seen, strict=True)))


async def _held(trial: Trial) -> Held:
    settings = trial.factory.settings
    processes = [psutil.Process(member.process.pid) for member in trial.crew.members]
    (sessions,) = await trial.fetch(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return Held(
        descriptors=sum(process.num_fds() for process in processes),
        threads=sum(process.num_threads() for process in processes),
        memory=sum(process.memory_info().rss for process in processes) // 2**20,
        connections=len(await levers.manage(settings, "GET", "vhosts/{vhost}/connections")),
        channels=len(await levers.manage(settings, "GET", "vhosts/{vhost}/channels")),
        sessions=sessions["n"],
    )


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
