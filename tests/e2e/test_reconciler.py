"""What somebody deletes, unbinds or purges on the broker is there again by itself, and the work goes on."""

from typing import Any

import pytest

from contracts import messages, topology
from contracts.refs import DataRef
from contracts.tiers import Tier
from infra import objects, repairs
from tests.factories import Factory, eventually
from tests.readiness import Coordinator, operate

pytestmark = pytest.mark.timeout(400)

QUICK = {"FACTORY_LEASE_SECONDS": "8", "FACTORY_HEARTBEAT_SECONDS": "1", "FACTORY_SWEEP_SECONDS": "0.5"}
EFFECT = topology.stage_queue("effect", Tier.BASIC)
EVENTS = topology.events_queue(Tier.BASIC)

MUTE = "the exchange of events deleted"
DAMAGES: dict[str, tuple[str, str, str]] = {
    "a stage's queue deleted": ("queue", "DELETE", f"queues/{{vhost}}/{EFFECT}"),
    "a stage's queue purged": ("task", "DELETE", f"queues/{{vhost}}/{EFFECT}/contents"),
    "a stage's queue unbound": ("binding", "DELETE", f"bindings/{{vhost}}/e/{topology.STAGES}/q/{EFFECT}/{EFFECT}"),
    "the exchange of stages deleted": ("exchange", "DELETE", f"exchanges/{{vhost}}/{topology.STAGES}"),
    "the queue of events deleted": ("queue", "DELETE", f"queues/{{vhost}}/{EVENTS}"),
    MUTE: ("exchange", "DELETE", f"exchanges/{{vhost}}/{topology.EVENTS}"),
    "the queue of heartbeats deleted": ("queue", "DELETE", f"queues/{{vhost}}/{topology.HEARTBEATS}"),
    "the control stream deleted": ("queue", "DELETE", f"queues/{{vhost}}/{topology.CONTROL}"),
}


async def repaired(factory: Factory) -> dict[str, int]:
    async with factory.pool.acquire() as connection:
        return {repair.kind: repair.number for repair in await repairs.listing(connection)}


async def published(factory: Factory, number: int) -> None:
    async def all_published() -> bool:
        rows = await factory.fetch("SELECT 1 FROM step_executions WHERE published_at IS NOT NULL")
        return len(rows) >= number

    await eventually(all_published, f"{number} tasks are on their queue")


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_heals_and_nothing_is_lost(factory: Factory, damage: str) -> None:
    await heals(factory, damage)


async def test_a_binding_heals_where_no_management_api_tells_of_it(factory: Factory) -> None:
    await heals(factory, "a stage's queue unbound", FACTORY_AMQP_ADMIN_URL="")


async def heals(factory: Factory, damage: str, **environment: str) -> None:
    """Executions submitted before and after the damage complete."""
    kind, method, path = DAMAGES[damage]
    await factory.client()
    factory.environment.update(QUICK)
    await factory.template("chain", [{"name": "one"}, {"name": "two", "depends_on": ["one"]}])
    await Coordinator(factory, **environment).ready()
    async with factory.connect() as client:
        for _ in range(3):
            await client.submit("chain")
        await published(factory, 3)
        await operate(factory, method, path)
        for _ in range(3):
            await client.submit("chain")
        factory.worker()
        finished = await client.answered(messages.ExecutionFinished, 6, patience=180)
    assert [message.status for message in finished] == ["completed"] * 6
    assert kind in await repaired(factory)
    assert await factory.fetch("SELECT 1 FROM dead_letters") == []
    runs = [run[:4] for run in factory.runs()]
    assert len(set(runs)) == 12
    # A worker that finds nobody to tell its result to can only do the work again; it counts once all the same.
    assert damage == MUTE or len(runs) == 12, "what had not begun ran once"
    attempts = await factory.fetch("SELECT count(*)::int AS n FROM step_executions WHERE status = 'completed'")
    assert attempts[0]["n"] == 12


async def test_a_worker_whose_queue_is_deleted_comes_back_by_itself(factory: Factory) -> None:
    await factory.client()
    factory.environment.update(QUICK)
    await factory.template("plain", [{"name": "only"}])
    coordinator = Coordinator(factory)
    await coordinator.ready()
    worker = factory.worker()
    async with factory.connect() as client:
        await client.submit("plain")
        await client.answered(messages.ExecutionFinished)
        await operate(factory, "DELETE", f"queues/{{vhost}}/{EFFECT}")
        await operate(factory, "DELETE", f"queues/{{vhost}}/{EVENTS}")
        await client.submit("plain")
        await client.answered(messages.ExecutionFinished, 2, patience=120)
    assert worker.poll() is None
    assert coordinator.process.poll() is None
    assert (await repaired(factory))["queue"] >= 2


async def test_a_sound_factory_is_not_repaired(factory: Factory) -> None:
    await factory.client()
    factory.environment.update({**QUICK, "FACTORY_LEASE_SECONDS": "2", "FACTORY_HEARTBEAT_SECONDS": "0.5"})
    await factory.template("plain", [{"name": "only"}])
    coordinator = Coordinator(factory)
    await coordinator.ready()
    await operate(factory, "DELETE", f"policies/{{vhost}}/{topology.POLICY}")
    # The comparison that names the policy comes after the one that repairs.
    await coordinator.names("policies", "run 'factory migrate'")
    assert await repaired(factory) == {}


async def test_a_queue_in_another_shape_is_named_and_the_others_work(factory: Factory) -> None:
    await factory.client()
    factory.environment.update(QUICK)
    await factory.template("plain", [{"name": "only"}])
    other = topology.stage_queue("slow_effect", Tier.PREMIUM)
    await operate(factory, "DELETE", f"queues/{{vhost}}/{other}")
    await operate(factory, "PUT", f"queues/{{vhost}}/{other}", {"durable": True, "arguments": {}})
    coordinator = Coordinator(factory)
    factory.worker()
    async with factory.connect() as client:
        await client.submit("plain")
        await client.answered(messages.ExecutionFinished)
        assert "remove what stands in the way" in await coordinator.names("topology", other)
        await operate(factory, "DELETE", f"queues/{{vhost}}/{other}")
        await coordinator.ready()
    assert (await repaired(factory)) == {"queue": 1}


async def test_an_object_that_is_gone_is_made_again_by_the_step_that_made_it(factory: Factory) -> None:
    await factory.client()
    factory.environment.update(QUICK)
    steps: list[dict[str, Any]] = [
        {"name": "find", "parameters": {"records": "3", "size": "6000"}},
        {"name": "read", "stage": "slow_effect", "depends_on": ["find"], "inputs": {"upstream": "find"}},
    ]
    await factory.template("two", steps)
    factory.coordinator()
    factory.worker()
    async with factory.connect() as client, objects.of(factory.settings) as store:
        await client.submit("two")

        async def offered() -> bool:
            # What is done at once is never noted as published; it is the second step that waits.
            query = "SELECT 1 FROM step_executions WHERE step = 'read' AND published_at IS NOT NULL"
            return bool(await factory.fetch(query))

        await eventually(offered, "the second task is on its queue")
        (row,) = await factory.fetch("SELECT output FROM step_executions WHERE step = 'find'")
        ref = DataRef.model_validate(row["output"])
        assert await store.exists(ref)
        await store.delete(ref)
        factory.worker("slow_effect")
        (finished,) = await client.answered(messages.ExecutionFinished, patience=120)
    assert finished.status == "completed"
    assert [run[2] for run in factory.runs()] == ["find", "find", "read"]
    facts = await factory.fetch("SELECT detail FROM timeline WHERE kind = 'input_gone'")
    assert [fact["detail"]["uri"] for fact in facts] == [ref.uri]
    assert await factory.fetch("SELECT 1 FROM dead_letters") == []
