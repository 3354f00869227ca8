"""Messages that come twice, in another order, late, or for nobody."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

from contracts import encoding, messages, topology
from contracts.bundles import TasksEnded
from contracts.tiers import Tier
from infra.delivery import Delivery, UnroutableError
from tests import factories
from tests.chaos import levers
from tests.chaos.matrix import row
from tests.chaos.trial import Trial

SHUFFLE_SECONDS = 0.4
HELD = 40


@contextlib.asynccontextmanager
async def _beside(
    client: factories.Client, name: str, bindings: list[tuple[str, str]]
) -> AsyncIterator[list[Delivery]]:
    """What passes these exchanges while this is entered; what comes by the suite's own hand is left out."""
    seen: list[Delivery] = []

    def receive(delivery: Delivery) -> None:
        if "copy" not in delivery.headers:
            seen.append(delivery)

    await client.connection.declare([topology.Queue(name, kind="classic", bindings=tuple(bindings))])
    consumer = await client.connection.consume(name, receive, prefetch=60_000)
    try:
        yield seen
    finally:
        await consumer.stop()


@row("27", "each message duplicated one to five times", "copies published beside", quick=True, size=8)
async def duplicated(trial: Trial) -> None:
    await trial.staff(workers=2)
    copies = 0
    async with (
        trial.factory.connect() as other,
        _beside(other, "beside", [(exchange, "#") for exchange in levers.COPIED]) as seen,
    ):
        async with trial.load(rate=4.0, most=trial.size):
            copies += await _copy(trial, other, seen, 40)
        await trial.drain()
        copies += await _copy(trial, other, seen, 0)
        trial.inject(f"{copies} copies of {copies // 3} or more messages: jobs, tasks and events")
    await trial.drain()
    (row_,) = await trial.fetch("SELECT count(*) AS n FROM executions")
    trial.claim(row_["n"] == trial.size, f"I3: {row_['n']} executions of {trial.size} jobs")


async def _copy(trial: Trial, other: factories.Client, seen: list[Delivery], wanted: int) -> int:
    """Publishes what was seen again, one to four times each, until so many copies were made and nothing is left."""
    made = 0
    while made < wanted or seen:
        await trial.until(lambda: _any(seen), "something was published")
        delivery = seen.pop(trial.chance.randrange(len(seen)))
        for _ in range(trial.chance.randint(1, 4)):
            await levers.republish(other, delivery, delivery.exchange, delivery.routing_key)
            made += 1
    return made


async def _any(seen: list[Delivery]) -> bool:
    return bool(seen)


@row("28", "events in random order: completed before accepted", "shuffled on the way", quick=True, size=12)
async def reordered(trial: Trial) -> None:
    await trial.factory.template(
        "told",
        [
            {"name": "find", "parameters": {"records": "3", "seconds": "0.25"}},
            {
                "name": "read",
                "depends_on": ["find"],
                "fan_out": {"over": ["find"], "field": "record"},
                "parameters": {"seconds": "0.25"},
            },
            {"name": "tell", "depends_on": ["read"], "inputs": {"upstream": "read"}, "deliver": ["json"]},
        ],
    )
    keys = [(topology.EVENTS, topology.event_key(tier)) for tier in Tier]
    await trial.staff(workers=1)
    async with trial.factory.connect() as other, _beside(other, "shuffle", keys) as seen:
        for tier in Tier:
            queue = topology.events_queue(tier)
            await levers.unbind(trial.factory.settings, topology.EVENTS, queue, topology.event_key(tier))
        shuffling = asyncio.create_task(_shuffle(trial, other, seen))
        async with trial.load("told", rate=5.0, most=trial.size):
            trial.inject(f"all events held for {SHUFFLE_SECONDS:g} s and handed on in random order")
        await trial.drain()
        shuffling.cancel()
        await asyncio.gather(shuffling, return_exceptions=True)


async def _shuffle(trial: Trial, other: factories.Client, seen: list[Delivery]) -> None:
    while True:
        await asyncio.sleep(SHUFFLE_SECONDS)
        held, seen[:] = list(seen), []
        trial.chance.shuffle(held)
        for delivery in held:
            queue = delivery.routing_key.replace("event.", "events.", 1)
            await levers.republish(other, delivery, "", queue)


@row("29", "events later than their lease, after the end, of old attempts and epochs", "replayed", quick=True, size=10)
async def late(trial: Trial) -> None:
    await trial.staff(workers=1)
    async with trial.factory.connect() as other, _beside(other, "kept", [(topology.EVENTS, "#")]) as seen:
        async with trial.load(rate=8.0, most=trial.size):
            pass
        await trial.drain()
        before = await trial.fetch("SELECT count(*) AS n FROM chaos_history")
        sample = trial.chance.sample(seen, min(HELD, len(seen)))
        for delivery in sample:
            await levers.republish(other, delivery, delivery.exchange, delivery.routing_key)
            for event in _events(delivery):
                for change in ({"attempt": event.attempt + 1}, {"epoch": event.epoch + 1}, {"shard": event.shard + 7}):
                    body = encoding.encode(event.model_copy(update=change))
                    key, name = delivery.routing_key, type(event).__name__
                    await other.publisher.publish(topology.EVENTS, key, name, body, headers={"copy": 1})
        trial.inject(f"{len(sample)} events of finished work, each also with another attempt, epoch and shard")
    await trial.drain()
    async with trial.load(rate=8.0, least=3, most=3):
        pass  # events in order behind the late ones: when these have taken effect, those have been dealt with
    await trial.drain()
    after = await trial.fetch(
        "SELECT count(*) AS n FROM chaos_history WHERE execution_id IN "
        "(SELECT id FROM executions ORDER BY created_at LIMIT $1)",
        trial.size,
    )
    moved = after[0]["n"] - before[0]["n"]
    trial.claim(moved == 0, f"I3: {moved} moves were made by late events")


def _events(delivery: Delivery) -> list[messages.TaskMessage]:
    message = encoding.decode(delivery.type, delivery.body)
    if isinstance(message, TasksEnded):
        return [*message.completed, *message.failed]
    assert isinstance(message, messages.TaskMessage)
    return [message]


@row("30", "many concurrent publishes that no queue takes", "unit", quick=True, size=3)
async def unroutable(trial: Trial) -> None:
    await trial.staff(workers=1)
    async with trial.factory.connect() as other, trial.load():
        good = topology.stage_queue("effect", Tier.BASIC)

        async def publish(key: str, body: bytes) -> bool:
            try:
                await other.publisher.publish(topology.STAGES, key, "StageTask", body, correlation_id="the same")
            except UnroutableError:
                return False
            return True

        bad = [publish(f"stage.nowhere.{uuid.uuid4().hex}", b"lost") for _ in range(200)]
        fine = [publish(good, f"nonsense {number}".encode()) for number in range(5)]
        mixed = [call for pair in zip(bad[:5], fine, strict=True) for call in pair] + bad[5:]
        told = await asyncio.gather(*mixed)
        trial.inject("200 publishes to nowhere and 5 to a queue, all at once")
        trial.claim(sum(told) == 5, f"{sum(told)} publishes were told to have arrived, 5 have")
        trial.claim(told[1:10:2] == [True] * 5, "a publish that arrived was told to be unroutable")
        trial.expected_dead["message:invalid_message"] += 5
        trial.heal()
        await trial.dead(5)
