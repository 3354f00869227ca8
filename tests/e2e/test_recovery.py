"""Processes that die, freeze or lose what they held: nothing is lost, and no step takes effect twice."""

import os
import signal
from collections import Counter
from typing import Any

import pytest

from contracts import encoding, messages, topology
from contracts.bundles import TasksEnded
from contracts.tiers import Tier
from infra.delivery import Delivery
from tests.factories import Client, Factory, eventually, terminate

# A lease must outlast the time that a killed process takes to come back, here as in production.
QUICK = {"FACTORY_LEASE_SECONDS": "10", "FACTORY_HEARTBEAT_SECONDS": "1", "FACTORY_SWEEP_SECONDS": "0.5"}

CHAIN: list[dict[str, Any]] = [
    {"name": "find", "parameters": {"records": "4"}},
    {"name": "read", "depends_on": ["find"], "fan_out": {"over": ["find"], "field": "record"}},
    {"name": "join", "depends_on": ["read"], "inputs": {"upstream": "read"}},
    {"name": "think", "depends_on": ["join"]},
    {"name": "tell", "depends_on": ["think"], "deliver": ["json"]},
]


async def _begun(factory: Factory, number: int = 1) -> None:
    async def begun() -> bool:
        return len(factory.runs()) >= number

    await eventually(begun, f"{number} tasks have begun")


async def test_two_coordinators_and_three_workers_do_each_step_once(factory: Factory) -> None:
    await factory.client(tier=Tier.ENTERPRISE)
    await factory.template("chain", CHAIN)
    events: Counter[messages.TaskKey] = Counter()

    def count(delivery: Delivery) -> None:
        message = encoding.decode(delivery.type, delivery.body)
        told = message.completed if isinstance(message, TasksEnded) else (message,)
        events.update(event.key for event in told if isinstance(event, messages.StageCompleted))

    async with factory.connect() as client:
        await client.connection.declare(
            [topology.Queue("beside", bindings=tuple((topology.EVENTS, topology.event_key(tier)) for tier in Tier))]
        )
        beside = await client.connection.consume("beside", count, prefetch=10_000)
        for _ in range(2):
            factory.coordinator()
        for _ in range(3):
            factory.worker()
        for _ in range(200):
            await client.submit("chain")
        finished = await client.answered(messages.ExecutionFinished, 200)

        async def counted() -> bool:
            return len(events) == 200 * 8

        await eventually(counted, "all events were seen beside the coordinators")
        await beside.stop()
    assert Counter(message.status for message in finished) == {"completed": 200}
    assert len({message.execution_id for message in finished}) == 200
    runs = Counter(factory.runs())
    assert len(runs) == 200 * 8
    assert set(runs.values()) == {1}
    assert set(events.values()) == {1}
    slots = await factory.fetch("SELECT count(*)::int AS n FROM executions WHERE status = 'running'")
    assert slots[0]["n"] == 0


async def test_killed_processes_lose_nothing(factory: Factory) -> None:
    await factory.client(tier=Tier.ENTERPRISE)
    factory.environment.update(QUICK)
    await factory.template(
        "chain", [{**step, "parameters": {**step.get("parameters", {}), "seconds": "0.05"}} for step in CHAIN]
    )
    coordinator, worker = factory.coordinator(), factory.worker()
    async with factory.connect() as client:
        for _ in range(40):
            await client.submit("chain")
        await _begun(factory, 60)
        coordinator.kill()
        factory.coordinator()
        await _begun(factory, 120)
        worker.kill()
        factory.worker()
        finished = await client.answered(messages.ExecutionFinished, 40)
    assert Counter(message.status for message in finished) == {"completed": 40}
    rows = await factory.fetch("SELECT status, count(*)::int AS n FROM step_executions GROUP BY status")
    assert {row["status"]: row["n"] for row in rows} == {"completed": 40 * 9}
    repeated = Counter(run[:4] for run in factory.runs())
    # Only what the killed worker held may have run again.
    assert sum(number - 1 for number in repeated.values()) <= 16


async def test_a_frozen_worker_is_replaced_and_its_late_result_is_refused(factory: Factory) -> None:
    await factory.client()
    factory.environment.update(QUICK)
    await factory.template("one", [{"name": "work", "stage": "slow_effect", "parameters": {"seconds": "1.5"}}])
    factory.coordinator()
    # With its one place taken it asks for no further task, which would be stuck with it while it is frozen.
    frozen = factory.worker("slow_effect", concurrency=1)
    async with factory.connect() as client:
        await client.submit("one")

        async def accepted() -> bool:
            return bool(await factory.fetch("SELECT 1 FROM step_executions WHERE worker IS NOT NULL"))

        await eventually(accepted, "the coordinator knows who does the task")
        os.kill(frozen.pid, signal.SIGSTOP)
        factory.worker("slow_effect")
        (finished,) = await client.answered(messages.ExecutionFinished)
        os.kill(frozen.pid, signal.SIGCONT)
        assert finished.status == "completed"

        async def told() -> bool:
            return "outcome=completed" in factory.log(frozen) or "session_ended" in factory.log(frozen)

        await eventually(told, "the frozen worker has noticed that time passed")
    (row,) = await factory.fetch("SELECT attempt, status, output FROM step_executions")
    assert (row["attempt"], row["status"]) == (2, "completed")
    kinds = [r["kind"] for r in await factory.fetch("SELECT kind FROM timeline")]
    assert kinds == ["lease_lapsed"]


async def test_a_task_that_vanished_from_its_queue_is_offered_again(factory: Factory) -> None:
    await factory.client()
    factory.environment.update(QUICK)
    await factory.template("one", [{"name": "work"}])
    factory.coordinator()
    async with factory.connect() as client:
        await client.submit("one")
        puller = await client.connection.puller()

        async def stolen() -> bool:
            delivery = await puller.get(topology.stage_queue("effect", Tier.BASIC))
            if delivery is not None:
                await delivery.ack()
            return delivery is not None

        await eventually(stolen, "the task was published")
        factory.worker()
        (finished,) = await client.answered(messages.ExecutionFinished)
    assert finished.status == "completed"
    assert [run[4] for run in factory.runs()] == ["2"]
    assert [r["kind"] for r in await factory.fetch("SELECT kind FROM timeline")] == ["task_lost"]


async def test_a_task_that_kills_its_workers_ends_and_its_neighbours_do_not_suffer(factory: Factory) -> None:
    await factory.client()
    factory.environment.update(QUICK)
    await factory.template("poison", [{"name": "work", "parameters": {"die": "true"}}])
    await factory.template("harmless", [{"name": "work"}])
    factory.coordinator()
    worker = factory.worker()
    async with factory.connect() as client:
        poison = await client.submit("poison")
        for _ in range(4):
            await client.submit("harmless")

        async def over() -> list[messages.ExecutionFinished] | None:
            nonlocal worker
            if worker.poll() is not None:  # as a supervisor would
                worker = factory.worker()
            found = [m for m, _ in client.answers if isinstance(m, messages.ExecutionFinished)]
            return found if len(found) == 5 else None

        finished = {m.submit_key: m for m in await eventually(over, "all five are over", 110)}
    assert finished.pop(poison).status == "failed"
    assert {m.status for m in finished.values()} == {"completed"}
    (dead,) = await factory.fetch("SELECT kind, reason, explanation FROM dead_letters")
    assert (dead["kind"], dead["reason"]) == ("step", "crash_loop")
    (row,) = await factory.fetch("SELECT error_class, starts FROM step_executions WHERE status = 'failed'")
    assert row["error_class"] == "crash_loop"
    assert len(row["starts"]) >= 5


@pytest.mark.parametrize("purpose", ["undecodable", "newer"])
async def test_a_task_that_a_worker_cannot_read_becomes_a_dead_letter(factory: Factory, purpose: str) -> None:
    await factory.client()
    await factory.template("one", [{"name": "work"}])
    factory.coordinator()
    factory.worker()
    body = b"nonsense" if purpose == "undecodable" else b'{"version": 9}'
    async with factory.connect() as client:
        await client.publisher.publish(topology.STAGES, "stage.effect.basic", "StageTask", body)

        async def kept() -> bool:
            return bool(await factory.fetch("SELECT 1 FROM dead_letters"))

        await eventually(kept, "the message is a dead letter")
        await client.submit("one")
        await client.answered(messages.ExecutionFinished)
    (dead,) = await factory.fetch("SELECT reason, queue, body, message_type FROM dead_letters")
    reason = "invalid_message" if purpose == "undecodable" else "unknown_version"
    assert tuple(dead) == (reason, "stage.effect.basic", body, "StageTask")


async def test_a_damaged_template_stops_its_own_executions_only(factory: Factory) -> None:
    await factory.client(tier=Tier.ENTERPRISE)
    await factory.template(
        "damaged", [{"name": "first", "parameters": {"seconds": "3.0"}}, {"name": "then", "depends_on": ["first"]}]
    )
    await factory.template("sound", [{"name": "only"}])
    coordinator = factory.coordinator(FACTORY_SLOTS="1")
    factory.worker()
    async with factory.connect() as client:
        await client.submit("damaged")
        await _begun(factory)
        waiting = await client.submit("damaged")
        await client.answered(messages.JobAccepted, 2)
        await factory.fetch("UPDATE pipeline_steps SET depends_on = '{nowhere}' WHERE template = 'damaged'")
        coordinator.kill()
        # Templates are read once, so the damage shows when a coordinator starts.
        factory.coordinator(FACTORY_SLOTS="8")
        sound = await client.submit("sound")
        finished = {m.submit_key: m for m in await client.answered(messages.ExecutionFinished, 2)}

        async def kept() -> bool:
            return bool(await factory.fetch("SELECT 1 FROM dead_letters WHERE message_type = 'StageCompleted'"))

        await eventually(kept, "the event that cannot be applied waits for a person")
    assert finished[sound].status == "completed"
    assert finished[waiting].status == "failed"
    assert "nowhere" in finished[waiting].explanation


async def give_up(client: Client, queue: str) -> None:
    """Takes the queue's one message and gives it back until the broker has had enough, as dying consumers would."""
    puller = await client.connection.puller()

    async def given_up() -> bool:
        delivery = await puller.get(queue)
        if delivery is None:
            return (await client.connection.inspect(topology.DEAD_LETTERS))[0] == 1
        await delivery.give_back()
        return False

    await eventually(given_up, f"the broker gives up what waits in {queue}")


async def test_what_died_with_its_neighbours_is_taken_up_again(factory: Factory) -> None:
    await factory.client()
    await factory.template("one", [{"name": "work"}])
    async with factory.connect() as client:
        await client.submit("one")
        await give_up(client, topology.jobs_queue(Tier.BASIC))
        first = factory.coordinator()
        await client.answered(messages.JobAccepted)
        await eventually(lambda: offered(factory), "the task is offered")
        first.kill()
        first.wait()
        worker = factory.worker()
        await eventually(lambda: ran(factory), "the work is done")
        terminate(worker)
        await give_up(client, topology.events_queue(Tier.BASIC))
        factory.coordinator()
        (ended,) = await client.answered(messages.ExecutionFinished)
    assert ended.status == "completed"
    assert len(factory.runs()) == 1
    assert await factory.fetch("SELECT 1 FROM dead_letters") == []


async def offered(factory: Factory) -> bool:
    return bool(await factory.fetch("SELECT 1 FROM step_executions WHERE published_at IS NOT NULL"))


async def ran(factory: Factory) -> bool:
    return len(factory.runs()) == 1
