"""Faults of RabbitMQ."""

import asyncio

from contracts import topology
from contracts.tiers import Tier
from tests.chaos import crew, levers, servers
from tests.chaos.matrix import row
from tests.chaos.trial import Trial

STAGE = "effect"
REPAIR_LIMIT = 100.0
"""What is missing at the broker is looked for once a minute."""

ALARM_SECONDS = 12.0


@row("15", "broker killed, started again after 1, 10 or 60 s", "kill -9", own=True, limit=30.0)
async def killed(trial: Trial) -> None:
    await trial.staff()
    async with trial.load():
        await trial.completed(40)
        pause = trial.chance.choice((1.0, 10.0, 60.0))
        trial.inject(f"kill -9 of the broker for {pause:g} s")
        await trial.servers.kill(servers.RABBITMQ)
        await asyncio.sleep(pause)
        await trial.servers.start(servers.RABBITMQ)
        trial.heal()
        await trial.progress(40)


@row("16", "broker frozen for 30 s", "SIGSTOP, SIGCONT", own=True)
async def frozen(trial: Trial) -> None:
    await trial.staff()
    async with trial.load():
        await trial.completed(40)
        trial.inject("SIGSTOP of the broker for 30 s")
        trial.servers.freeze(servers.RABBITMQ)
        await asyncio.sleep(30.0)
        trial.servers.thaw(servers.RABBITMQ)
        trial.heal()
        await trial.progress(40)


async def _alarmed(trial: Trial, on: tuple[str, ...], off: tuple[str, ...]) -> None:
    await trial.staff()
    async with trial.load():
        await trial.completed(40)
        trial.inject(f"rabbitmqctl {' '.join(on)} for {ALARM_SECONDS:g} s")
        pid = trial.servers.pid(servers.RABBITMQ)
        await levers.rabbitmqctl(pid, *on)
        try:
            await asyncio.sleep(ALARM_SECONDS)
        finally:
            await levers.rabbitmqctl(pid, *off)
        trial.heal()
        await trial.progress(40)


@row("17", "memory alarm on and off", "rabbitmqctl", own=True)
async def memory_alarm(trial: Trial) -> None:
    command = "set_vm_memory_high_watermark"
    await _alarmed(trial, (command, "0.00001"), (command, "0.4"))


@row("18", "disk alarm on and off", "rabbitmqctl", own=True)
async def disk_alarm(trial: Trial) -> None:
    await _alarmed(trial, ("set_disk_free_limit", "100000GB"), ("set_disk_free_limit", "1GB"))


@row("19a", "stage queue purged while tasks wait in it", "management API", limit=REPAIR_LIMIT)
async def purged(trial: Trial) -> None:
    await trial.staff()
    async with trial.load():
        await trial.completed(20)
        for member in trial.crew.of(crew.WORKER):
            await trial.crew.dismiss(member)
        await trial.dispatched(10)
        trial.inject("purge of the stage's queues")
        for tier in Tier:
            queue = topology.stage_queue(STAGE, tier)
            await levers.manage(trial.factory.settings, "DELETE", f"queues/{{vhost}}/{queue}/contents")
        trial.crew.worker()
        trial.heal()
        await trial.progress(20, REPAIR_LIMIT)
    await trial.drain()


@row("19b", "stage queue deleted under its consumers", "management API", limit=REPAIR_LIMIT)
async def deleted(trial: Trial) -> None:
    await trial.staff()
    async with trial.load(rate=3.0):
        await trial.completed(20)
        trial.inject("deletion of the stage's queues")
        for tier in Tier:
            queue = topology.stage_queue(STAGE, tier)
            await levers.manage(trial.factory.settings, "DELETE", f"queues/{{vhost}}/{queue}")
        trial.heal()
        await trial.progress(20, REPAIR_LIMIT)
    await trial.drain()


@row("20", "binding of a stage removed", "management API", limit=REPAIR_LIMIT)
async def unbound(trial: Trial) -> None:
    await trial.staff()
    async with trial.load(rate=3.0):
        await trial.completed(20)
        for tier in Tier:
            queue = topology.stage_queue(STAGE, tier)
            await levers.unbind(trial.factory.settings, topology.STAGES, queue, queue)
        trial.inject("removal of the stage's bindings")
        await trial.repaired("binding")
        trial.heal()
        await trial.progress(20, REPAIR_LIMIT)
    await trial.drain()


@row("21", "stage queue full, publishes rejected", "policy max-length")
async def full(trial: Trial) -> None:
    policy = {
        "pattern": r"^stage\.effect\.",
        "apply-to": "queues",
        "priority": 20,
        "definition": {**topology.POLICY_DEFINITION, "max-length": 4},
    }
    trial.crew.coordinator()
    trial.crew.worker(concurrency=1)
    async with trial.load(rate=10.0):
        await trial.completed(20)
        trial.inject("max-length 4 on the stage's queues from now on")
        # It stays: a quorum queue of RabbitMQ 3.10 that rejects when its limit is lifted goes on to reject on channels
        # that it has told so.
        await levers.manage(trial.factory.settings, "PUT", "policies/{vhost}/small", policy)
        await asyncio.sleep(10.0)


@row("22", "dead-letter exchange missing while poison arrives", "management API", limit=REPAIR_LIMIT)
async def no_dead_letters(trial: Trial) -> None:
    await trial.staff()
    async with trial.factory.connect() as other, trial.load(rate=3.0):
        await trial.completed(20)
        trial.inject("deletion of the dead-letter exchange, then a task that nobody can read")
        await levers.manage(trial.factory.settings, "DELETE", f"exchanges/{{vhost}}/{topology.DEAD}")
        key = topology.stage_queue(STAGE, Tier.BASIC)
        await other.publisher.publish(topology.STAGES, key, "StageTask", b"nonsense")
        trial.expected_dead["message:invalid_message"] += 1
        trial.heal()
        await trial.dead(1, REPAIR_LIMIT)
        await trial.progress(20, REPAIR_LIMIT)
