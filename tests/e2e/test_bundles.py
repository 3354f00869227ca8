"""Events that were told together: one that cannot be used costs its neighbours nothing."""

import json
from typing import Any

from contracts import encoding, messages, topology
from contracts.refs import inline
from contracts.tiers import Tier
from producer import metering
from tests.factories import Client, Factory, eventually


async def dispatched(factory: Factory, number: int) -> list[messages.TaskKey]:
    async def found() -> list[Any] | None:
        rows = await factory.fetch("SELECT * FROM step_executions WHERE status = 'dispatched' ORDER BY execution_id")
        return rows if len(rows) == number else None

    rows = await eventually(found, f"{number} tasks are dispatched")
    return [messages.TaskKey(r["execution_id"], r["epoch"], r["step"], r["shard"], r["attempt"]) for r in rows]


def completed(key: messages.TaskKey) -> dict[str, Any]:
    event = messages.StageCompleted(**key._asdict(), worker="w", output=inline(b"{}"))
    document: dict[str, Any] = json.loads(encoding.encode(event))
    return document


async def tell(client: Client, *events: dict[str, Any]) -> None:
    body = json.dumps({"version": 1, "completed": events, "failed": []}).encode()
    await client.publisher.publish(topology.EVENTS, topology.event_key(Tier.BASIC), "TasksEnded", body)


async def test_an_event_of_a_newer_version_waits_and_its_neighbours_count(factory: Factory) -> None:
    await factory.client()
    await factory.template("one", [{"name": "work"}])
    factory.coordinator()
    async with factory.connect() as client:
        for _ in range(3):
            await client.submit("one")
        keys = await dispatched(factory, 3)
        await tell(client, completed(keys[0]), {**completed(keys[1]), "version": 7}, completed(keys[2]))
        finished = await client.answered(messages.ExecutionFinished, 2)
        assert {message.execution_id for message in finished} == {keys[0].execution_id, keys[2].execution_id}

        async def letters() -> list[Any]:
            return await factory.fetch("SELECT reason, message_type, execution_id, step, body FROM dead_letters")

        (letter,) = await eventually(letters, "the other one is a dead letter")
        assert (letter["reason"], letter["message_type"], letter["step"]) == (
            "unknown_version",
            "StageCompleted",
            "work",
        )
        assert letter["execution_id"] == keys[1].execution_id
        assert json.loads(letter["body"])["version"] == 7
        await tell(client, completed(keys[1]))
        await client.answered(messages.ExecutionFinished, 3)


async def test_a_bundle_that_is_not_understood_is_set_aside_as_a_whole(factory: Factory) -> None:
    await factory.client()
    await factory.template("one", [{"name": "work"}])
    factory.coordinator()
    async with factory.connect() as client:
        await client.submit("one")
        (key,) = await dispatched(factory, 1)
        unknown: list[dict[str, Any]] = [{"version": 2}, {"cancelled": []}]
        for changes in unknown:
            body = json.dumps({"version": 1, "completed": [completed(key)], "failed": [], **changes}).encode()
            await client.publisher.publish(topology.EVENTS, topology.event_key(Tier.BASIC), "TasksEnded", body)

        async def set_aside() -> bool:
            rows = await factory.fetch("SELECT message_type FROM dead_letters")
            return [row["message_type"] for row in rows] == ["TasksEnded", "TasksEnded"]

        await eventually(set_aside, "both are dead letters")
        assert await dispatched(factory, 1) == [key], "nothing of them counted"


async def test_an_event_that_cannot_be_applied_fails_its_task_alone(factory: Factory) -> None:
    await factory.client()
    await factory.template("one", [{"name": "work", "deliver": ["json"]}])
    factory.coordinator()
    async with factory.connect() as client:
        for _ in range(3):
            await client.submit("one")
        keys = await dispatched(factory, 3)
        await factory.fetch(
            "ALTER TABLE deliverables ADD CONSTRAINT odd CHECK (execution_id <> '" + str(keys[1].execution_id) + "')"
        )
        await tell(client, *(completed(key) for key in keys))
        finished = {m.execution_id: m for m in await client.answered(messages.ExecutionFinished, 3)}
    assert [finished[key.execution_id].status for key in keys] == ["completed", "failed", "completed"]
    (letter,) = await factory.fetch(
        "SELECT reason, message_type, execution_id FROM dead_letters WHERE kind = 'message'"
    )
    assert (letter["reason"], letter["message_type"]) == ("data_error", "StageCompleted")
    assert letter["execution_id"] == keys[1].execution_id


async def test_a_meter_counts_what_is_told_together_for_each_execution(factory: Factory) -> None:
    await factory.client()
    await factory.template("one", [{"name": "work"}])
    factory.coordinator()
    async with factory.connect() as client, metering.measure(factory.settings.amqp_url) as meter:
        for _ in range(2):
            await client.submit("one")
        keys = await dispatched(factory, 2)
        outputs = {key.execution_id: inline(str(key.execution_id).encode()) for key in keys}
        events = [
            messages.StageCompleted(**key._asdict(), worker="w", output=outputs[key.execution_id]) for key in keys
        ]
        await tell(client, *(json.loads(encoding.encode(event)) for event in events))
        accepted = {answer.execution_id: answer for answer in await client.answered(messages.JobAccepted, 2)}
        for finished in await client.answered(messages.ExecutionFinished, 2):
            tally = await meter.total(accepted[finished.execution_id], finished)
            own = {ref.sha256 for execution_id, ref in outputs.items() if execution_id == finished.execution_id}
            every = {ref.sha256 for ref in outputs.values()}
            assert tally.documents.keys() & every == own, "each execution has its own part"
            assert tally.largest > max(len(encoding.encode(event)) for event in events)
