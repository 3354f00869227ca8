"""What watchers are told while executions run."""

from typing import Any

from contracts import encoding, messages, topology
from contracts.tiers import Tier
from infra.delivery import Delivery
from tests.factories import Factory, eventually

MANY = 230
"""More than a coordinator tells about in two turns."""


async def test_each_of_many_running_executions_is_told_about_in_its_turn(factory: Factory) -> None:
    factory.environment["FACTORY_SLOTS"] = "2000"
    await factory.client()
    await factory.template("one", [{"name": "work"}])
    told: dict[str, messages.ExecutionProgressed] = {}

    def hear(delivery: Delivery) -> None:
        message = encoding.decode(delivery.type, delivery.body)
        if isinstance(message, messages.ExecutionProgressed):
            told[str(message.execution_id)] = message

    async with factory.connect() as client:
        queue = await client.connection.declare_reply_queue([(topology.NOTIFICATIONS, "execution.acme.#")])
        await client.connection.consume(queue, hear, prefetch=0)
        for _ in range(MANY):
            await client.submit("one")
        factory.coordinator()

        async def all_told() -> bool:
            return len(told) == MANY

        # Nobody works, so no execution changes again: who was passed over would never be told about.
        await eventually(all_told, f"the progress of all {MANY} executions is told")
    assert {message.steps["work"].status for message in told.values()} == {"dispatched"}
    running = await factory.fetch("SELECT id FROM executions WHERE status = 'running'")
    assert {str(row["id"]) for row in running} == set(told)


async def test_the_start_and_the_progress_of_a_task_are_told(factory: Factory) -> None:
    await factory.client()
    await factory.template("one", [{"name": "work"}])
    factory.coordinator()
    heard: list[messages.StepState] = []

    def hear(delivery: Delivery) -> None:
        message = encoding.decode(delivery.type, delivery.body)
        if isinstance(message, messages.ExecutionProgressed):
            heard.append(message.steps["work"])

    async with factory.connect() as client:
        queue = await client.connection.declare_reply_queue([(topology.NOTIFICATIONS, "execution.acme.#")])
        await client.connection.consume(queue, hear, prefetch=0)
        await client.submit("one")

        async def offered() -> list[Any]:
            return await factory.fetch("SELECT * FROM step_executions WHERE status = 'dispatched'")

        (row,) = await eventually(offered, "the task is offered")
        key = messages.TaskKey(row["execution_id"], row["epoch"], row["step"], row["shard"], row["attempt"])
        for event in (
            messages.StageAccepted(**key._asdict(), worker="w", redelivered=False, estimate=60.0),
            messages.StageProgress(**key._asdict(), worker="w", fraction=0.5, note="half"),
        ):
            await client.publisher.publish(
                topology.EVENTS, topology.event_key(Tier.BASIC), type(event).__name__, encoding.encode(event)
            )

        async def half() -> bool:
            return any((state.status, state.fraction) == ("running", 0.5) for state in heard)

        await eventually(half, "watchers hear of it")
