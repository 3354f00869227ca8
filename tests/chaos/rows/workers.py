"""Faults of workers and of what runs in them."""

import asyncio
import time

from infra.failpoints import Failpoint
from tests.chaos import crew
from tests.chaos.matrix import row
from tests.chaos.trial import Trial

FROZEN_SECONDS = 50.0
"""More than three of the broker's heartbeats (15 s), and many leases of this suite (6 s)."""

DRAIN_SECONDS = 20.0
INNOCENTS = 4


async def _slow_chain(trial: Trial, seconds: float) -> None:
    """A template whose middle takes long enough to be caught in it."""
    await trial.factory.template(
        "slow",
        [
            {"name": "find", "parameters": {"records": "3", "size": "2000"}},
            {
                "name": "read",
                "depends_on": ["find"],
                "fan_out": {"over": ["find"], "field": "record"},
                "parameters": {"seconds": str(seconds), "size": "5000", "records": "1"},
            },
            {"name": "join", "depends_on": ["read"], "inputs": {"upstream": "read"}, "deliver": ["json"]},
        ],
    )


@row(
    "9",
    "worker killed mid-stage, after its upload, between its event and its ack",
    "kill -9, failpoints",
    quick=True,
    size=12,
)
async def killed(trial: Trial) -> None:
    await _slow_chain(trial, 0.3)
    trial.crew.coordinator()
    uploads, acks = trial.chance.randint(2, 8), trial.chance.randint(2, 8)
    uploaded = trial.crew.worker(first=trial.failpoint(f"{Failpoint.OUTPUT_STORED}:kill:{uploads}"))
    told = trial.crew.worker(first=trial.failpoint(f"{Failpoint.TASK_ACKING}:kill:{acks}"))
    async with trial.load("slow"):
        await trial.died(uploaded)
        await trial.died(told)
        await trial.running("read")
        trial.inject("kill -9 of a worker mid-stage")
        uploaded.kill()
        trial.heal()
        await trial.progress(10)
    await trial.drain()
    given_up = await trial.fetch("SELECT 1 FROM timeline WHERE kind = 'task_died'")
    trial.claim(not given_up, f"I7: the broker gave {len(given_up)} tasks up as if they had killed their workers")


@row("10", "worker frozen beyond its heartbeat and its leases", "SIGSTOP, SIGCONT", limit=30.0)
async def frozen(trial: Trial) -> None:
    await _slow_chain(trial, 0.5)
    await trial.staff(workers=2)
    member = trial.crew.of(crew.WORKER)[0]
    async with trial.load("slow"):
        await trial.completed(20)
        await trial.running("read")
        trial.inject(f"SIGSTOP of one of two workers for {FROZEN_SECONDS:g} s")
        member.freeze()
        await asyncio.sleep(FROZEN_SECONDS)
        member.thaw()
        trial.heal()
        await trial.progress(20)


@row("11", "a worker's event loop blocked for more than three heartbeats", "failpoint delay", limit=30.0)
async def blocked(trial: Trial) -> None:
    trial.crew.coordinator()
    nth = trial.chance.randint(5, 20)
    member = trial.crew.worker(first=trial.failpoint(f"{Failpoint.STAGE_RAN}:delay={FROZEN_SECONDS:g}:{nth}"))
    trial.crew.worker()
    async with trial.load():
        await trial.until(lambda: _says(trial, member, "was reached"), "the loop is blocked")
        await asyncio.sleep(FROZEN_SECONDS)
        trial.heal()
        await trial.progress(20)


async def _says(trial: Trial, member: crew.Member, text: str) -> bool:
    return text in trial.crew.log(member)


@row("12", "stage raises, hangs, returns junk", "stage parameters", size=12)
async def misbehaving(trial: Trial) -> None:
    steps = {
        "raises": {"fail": "'permanent'"},
        "wavers": {"fail": "'transient'", "fail_below_attempt": "3"},
        "hangs": {"seconds": "20.0"},
        "junk": {"junk": "true"},
    }
    retry = {"attempts": 3, "base": 0.1, "cap": 0.2}
    for name, parameters in steps.items():
        await trial.factory.template(name, [{"name": "work", "timeout": 1, "retry": retry, "parameters": parameters}])
    await trial.staff()
    for name in steps:
        trial.inject(f"{trial.size} x {name}")
        async with trial.load(name, rate=30.0, most=trial.size):
            if name != "wavers":
                trial.expected_dead["step:failed"] += trial.size
    async with trial.load():
        trial.heal()
        await trial.progress(10)
    await trial.drain()
    rows = await trial.fetch("SELECT template, status, count(*)::int AS n FROM executions GROUP BY 1, 2")
    ends = {(row["template"], row["status"]) for row in rows}
    good, bad = ("chain", "wavers"), ("raises", "hangs", "junk")
    wanted = {*((name, "completed") for name in good), *((name, "failed") for name in bad)}
    trial.claim(ends == wanted, f"executions ended as {sorted(ends)}, not as {sorted(wanted)}")


@row("13", "a task that kills its worker, with innocents beside it", "os._exit", quick=True, size=INNOCENTS)
async def poison(trial: Trial) -> None:
    # A lease must outlast the time in which a killed process is back, as it does in production.
    trial.factory.environment["FACTORY_LEASE_SECONDS"] = "20"
    await trial.factory.template("poison", [{"name": "work", "parameters": {"die": "true"}}])
    await trial.factory.template("innocent", [{"name": "work", "parameters": {"seconds": "0.3"}}])
    trial.crew.coordinator()
    trial.crew.worker(concurrency=5)
    async with trial.load("innocent", rate=20.0, most=trial.size), trial.load("poison", rate=20.0, least=1, most=1):
        trial.inject(f"one task that ends its process, {trial.size} innocents in the same worker")
        trial.expected_dead["step:crash_loop"] += 1
    await trial.drain()
    rows = await trial.fetch("SELECT template, status FROM executions")
    for row_ in rows:
        wanted = "failed" if row_["template"] == "poison" else "completed"
        trial.claim(row_["status"] == wanted, f"I7: an execution of '{row_['template']}' ended as {row_['status']}")


@row("14", "rolling restart under load", "SIGTERM", limit=30.0)
async def rolling(trial: Trial) -> None:
    await _slow_chain(trial, 0.5)
    await trial.staff(coordinators=2, workers=2)
    async with trial.load("slow"):
        await trial.completed(20)
        for member in list(trial.crew.members):
            began = time.monotonic()
            role = member.arguments[0]
            status = await trial.crew.dismiss(member)
            took = time.monotonic() - began
            trial.inject(f"SIGTERM of a {role}, gone after {took:.1f} s")
            trial.claim(status == 0, f"a {role} ended with status {status} when it was asked to end")
            trial.claim(took < DRAIN_SECONDS, f"a {role} took {took:.1f} s to end")
            (trial.crew.coordinator if role == crew.COORDINATOR else trial.crew.worker)()
        trial.heal()
        await trial.progress(20)
    await trial.drain()
    kinds = {row_["kind"] for row_ in await trial.fetch("SELECT kind FROM timeline")}
    lost = sorted(kinds & {"lease_lapsed", "task_lost", "task_died"})
    trial.claim(not lost, f"attempts were lost by a restart in good order: {lost}")
