"""Faults of the coordinator."""

import asyncio
import json
import uuid
from typing import Any

from contracts import encoding, messages, topology
from contracts.tiers import Tier
from infra.failpoints import Failpoint
from tests.chaos.matrix import row
from tests.chaos.trial import Trial

ZOMBIE_SECONDS = 50.0
"""More than three of the broker's heartbeats (15 s): by then it has given the frozen process up."""

WIDE = 150


async def _killed_at(trial: Trial, point: Failpoint, first: int = 2, last: int = 10) -> None:
    """Kills the only coordinator when it reaches the point; its successor goes on."""
    nth = trial.chance.randint(first, last)
    member = trial.crew.coordinator(trial.failpoint(f"{point}:kill:{nth}"))
    trial.crew.worker()
    async with trial.load():
        await trial.died(member)
        await trial.progress(10)
    trial.claim(member.deaths[0] == -9, f"the coordinator ended with {member.deaths[0]} where a kill was armed")


@row("1", "coordinator killed before its transaction", "failpoint", quick=True, size=8)
async def before_transaction(trial: Trial) -> None:
    await _killed_at(trial, Failpoint.EVENTS_DECODED)


@row("2", "coordinator killed in its transaction, before the commit", "failpoint", quick=True, size=8)
async def in_transaction(trial: Trial) -> None:
    await _killed_at(trial, Failpoint.TRANSACTION_COMMITTING)


@row("3", "coordinator killed after the commit, before it publishes", "failpoint", quick=True, size=8)
async def after_commit(trial: Trial) -> None:
    await _killed_at(trial, Failpoint.BATCH_COMMITTED)


@row("4", "coordinator killed half-way through publishing a batch", "failpoint", quick=True, size=8)
async def within_publishing(trial: Trial) -> None:
    await _killed_at(trial, Failpoint.PUBLISH_SENT, 5, 40)


@row("5", "coordinator killed after the confirms, before it acknowledges", "failpoint", quick=True, size=8)
async def before_acknowledging(trial: Trial) -> None:
    await _killed_at(trial, Failpoint.BATCH_ACKING)


@row("6", "coordinator frozen for three heartbeats, a second one works meanwhile", "SIGSTOP, SIGCONT", limit=90.0)
async def zombie(trial: Trial) -> None:
    frozen = trial.crew.coordinator()
    await trial.staff()
    async with trial.load():
        await trial.completed(40)
        trial.inject(f"SIGSTOP of one of two coordinators for {ZOMBIE_SECONDS:g} s")
        frozen.freeze()
        await asyncio.sleep(ZOMBIE_SECONDS)
        frozen.thaw()
        trial.heal()
        await trial.progress(20)


@row("7", "three coordinators, executions with a wide fan-in", "more processes", size=4)
async def fan_in(trial: Trial) -> None:
    await trial.factory.template(
        "wide",
        [
            {"name": "find", "parameters": {"records": str(WIDE)}},
            {"name": "read", "depends_on": ["find"], "fan_out": {"over": ["find"], "field": "record"}},
            {"name": "join", "depends_on": ["read"], "inputs": {"upstream": "read"}, "deliver": ["json"]},
        ],
    )
    trial.inject(f"three coordinators at {trial.size} executions of {WIDE} shards")
    await trial.staff(coordinators=3, workers=2)
    async with trial.load("wide", rate=20.0, most=trial.size):
        await trial.completed(trial.size * (WIDE + 3), 120.0)
    for member in trial.crew.members:
        trial.claim("DeadlockDetected" not in trial.crew.log(member), "I2: a coordinator met a deadlock")


@row("8", "bad events among good ones", "injection", quick=True, size=15)
async def bad_events(trial: Trial) -> None:
    await trial.staff(workers=1)
    async with trial.factory.connect() as other, trial.load():
        await trial.completed(10)
        for name, body, reason in _bad_events():
            trial.inject(f"{name} on the event queue ({reason or 'no effect'})")
            for tier in Tier:
                await other.publisher.publish(topology.EVENTS, topology.event_key(tier), name, body)
                if reason:
                    trial.expected_dead[f"message:{reason}"] += 1
        trial.heal()
        await trial.progress(20)


def _bad_events() -> list[tuple[str, bytes, str]]:
    """Type, body, and the reason for which each becomes a dead letter; none for one that is merely too late."""
    stranger = messages.StageAccepted(
        execution_id=uuid.uuid4(),
        epoch=1,
        step="find",
        shard=0,
        attempt=1,
        worker="nobody",
        redelivered=False,
        estimate=1,
    )
    good: dict[str, Any] = json.loads(encoding.encode(stranger))
    return [
        ("StageAccepted", b"{ not JSON", "invalid_message"),
        ("StageAccepted", b"\xff\xfe\x00", "invalid_message"),
        ("StageAccepted", json.dumps({**good, "surplus": 1}).encode(), "invalid_message"),
        ("StageAccepted", json.dumps({**good, "execution_id": "no id"}).encode(), "invalid_message"),
        ("Nonsense", encoding.encode(stranger), "unknown_type"),
        ("SubmitJob", encoding.encode(stranger), "invalid_message"),
        ("JobAccepted", encoding.encode(_acceptance()), "unknown_type"),
        ("StageAccepted", json.dumps({**good, "version": 99}).encode(), "unknown_version"),
        ("StageAccepted", encoding.encode(stranger), ""),
    ]


def _acceptance() -> messages.JobAccepted:
    return messages.JobAccepted(
        submit_key="k", execution_id=uuid.uuid4(), template="chain", template_version=1, tier=Tier.BASIC, position=0
    )
