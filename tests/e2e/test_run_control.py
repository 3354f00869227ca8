"""Steering what runs: pausing and resuming, doing parts again, and work of before that may not finish them."""

import re
from collections import Counter
from typing import Any
from uuid import UUID

from contracts import encoding, messages, refs, steering, topology
from contracts.tiers import Tier
from infra import objects
from tests.factories import Client, Factory, eventually

QUICK = {"FACTORY_SWEEP_SECONDS": "0.5"}


async def steer(client: Client, execution_id: UUID, action: steering.Action, step: str | None = None) -> Any:
    """The answer to a command."""
    number = len([m for m, _ in client.answers if isinstance(m, steering.ExecutionSteered | messages.JobRejected)])
    command = steering.SteerExecution(client="acme", execution_id=execution_id, action=action, step=step, note="test")
    await client.publish(encoding.encode(command), type_name="SteerExecution")

    async def answered() -> Any:
        found = [m for m, _ in client.answers if isinstance(m, steering.ExecutionSteered | messages.JobRejected)]
        return found[number] if len(found) > number else None

    return await eventually(answered, f"{action} is answered")


async def set_pause(client: Client, kind: steering.Pausable, name: str, paused: bool) -> None:
    """Pauses or resumes, and waits until that is done."""
    number = len([m for m, _ in client.answers if isinstance(m, steering.PauseSet)])
    command = steering.SetPause(kind=kind, name=name, paused=paused)
    await client.publish(encoding.encode(command), type_name="SetPause")
    await client.answered(steering.PauseSet, number + 1)


async def submitted(client: Client, template: str) -> UUID:
    """The id of a new execution."""
    number = len([m for m, _ in client.answers if isinstance(m, messages.JobAccepted)])
    await client.submit(template)
    found: UUID = (await client.answered(messages.JobAccepted, number + 1))[number].execution_id
    return found


async def stands(factory: Factory, step: str, *statuses: str, shard: int = 0) -> Any:
    """Waits until the row of a step stands in one of these statuses."""

    async def so() -> bool:
        rows = await factory.fetch(
            "SELECT 1 FROM step_executions WHERE step = $1 AND shard = $2 AND status = ANY($3)", step, shard, statuses
        )
        return bool(rows)

    return await eventually(so, f"{step}/{shard} is {' or '.join(statuses)}")


def runs(factory: Factory) -> Counter[str]:
    """How often each step ran."""
    return Counter(step for _, _, step, _, _ in factory.runs())


async def test_a_paused_execution_begins_nothing_before_it_is_resumed(factory: Factory) -> None:
    await factory.client()
    await factory.template("two", [{"name": "a", "parameters": {"seconds": "1.0"}}, {"name": "b", "depends_on": ["a"]}])
    factory.coordinator(**QUICK)
    factory.worker()
    async with factory.connect() as client:
        execution_id = await submitted(client, "two")
        await stands(factory, "a", "running")
        assert (await steer(client, execution_id, "pause")).status == "paused"
        await stands(factory, "a", "completed")
        other = await submitted(client, "two")
        await stands(factory, "b", "completed")
        assert (runs(factory)["a"], runs(factory)["b"]) == (2, 1), "another execution has gone past it meanwhile"
        assert (await steer(client, execution_id, "pause")).reason == "not_possible"
        assert (await steer(client, execution_id, "resume")).status == "queued"
        ended = await client.answered(messages.ExecutionFinished, 2)
    assert {(m.execution_id, m.status) for m in ended} == {(execution_id, "completed"), (other, "completed")}
    assert runs(factory) == {"a": 2, "b": 2}


async def test_a_paused_execution_does_not_try_again_and_opens_no_further_shards(factory: Factory) -> None:
    await factory.client()
    fan_out = {"over": ["find"], "field": "record", "window": 1}
    retry = {"attempts": 5, "base": 0.2, "cap": 0.2}
    steps: list[dict[str, Any]] = [
        {"name": "find", "parameters": {"records": "3"}},
        {"name": "flaky", "retry": retry, "parameters": {"fail": "'transient'", "fail_below_attempt": "4"}},
        {"name": "read", "depends_on": ["find"], "fan_out": fan_out, "parameters": {"seconds": "0.5"}},
    ]
    await factory.template("wide", steps)
    factory.coordinator(**QUICK)
    factory.worker()
    async with factory.connect() as client:
        execution_id = await submitted(client, "wide")
        await stands(factory, "read", "running", shard=1)
        await steer(client, execution_id, "pause")
        await stands(factory, "read", "completed", shard=1)
        before = runs(factory)
        assert before["read"] == 1
        await submitted(client, "wide")
        await factory.all_over(1)
        mine = Counter(step for execution, _, step, _, _ in factory.runs() if execution == str(execution_id))
        assert mine == before
        await steer(client, execution_id, "resume")
        await factory.all_over(2)
    assert await factory.statuses() == {"completed": 2}


async def test_a_paused_stage_keeps_its_tasks_waiting(factory: Factory) -> None:
    await factory.client()
    await factory.template("two", [{"name": "a"}, {"name": "b", "stage": "slow_effect", "depends_on": ["a"]}])
    factory.coordinator(**QUICK)
    factory.worker("effect", "slow_effect")
    async with factory.connect() as client:
        await submitted(client, "two")
        await factory.all_over(1)
        for stage in ("effect", "slow_effect"):
            await set_pause(client, "stage", stage, True)
        await eventually(lambda: _logged(factory, "stages_paused"), "the worker knows")
        execution_id = await submitted(client, "two")
        await eventually(lambda: _waiting(factory, "stage.effect.basic"), "the task waits in its queue")
        late = factory.worker("effect", "slow_effect")
        await eventually(lambda: _logged(factory, "stages_paused", late), "a worker that comes later knows as well")
        await set_pause(client, "stage", "effect", False)
        await stands_for(factory, execution_id, "b", "dispatched")
        assert runs(factory) == {"a": 2, "b": 1}
        await set_pause(client, "stage", "slow_effect", False)
        await factory.all_over(2)
        command = steering.SetPause(kind="stage", name="nonsense", paused=True)
        await client.publish(encoding.encode(command), type_name="SetPause")
        (refused,) = await client.answered(messages.JobRejected)
    assert refused.reason == "unknown_stage"
    assert runs(factory) == {"a": 2, "b": 2}


async def _logged(factory: Factory, event: str, process: Any = None) -> bool:
    return event in factory.log(process or factory.processes[1])


async def _waiting(factory: Factory, queue: str) -> bool:
    async with factory.connect() as client:
        return (await client.connection.inspect(queue))[0] > 0


async def stands_for(factory: Factory, execution_id: UUID, step: str, status: str) -> Any:
    """The same for one execution."""

    async def so() -> bool:
        query = "SELECT 1 FROM step_executions WHERE execution_id = $1 AND step = $2 AND shard = 0 AND status = $3"
        return bool(await factory.fetch(query, execution_id, step, status))

    return await eventually(so, f"{step} is {status}")


async def test_a_paused_client_waits_and_others_do_not(factory: Factory) -> None:
    await factory.client()
    await factory.client("other")
    await factory.template("two", [{"name": "a", "parameters": {"seconds": "1.0"}}, {"name": "b", "depends_on": ["a"]}])
    factory.coordinator(**QUICK)
    factory.worker()
    async with factory.connect() as client:
        running = await submitted(client, "two")
        await stands(factory, "a", "running")
        await set_pause(client, "client", "acme", True)
        queued = await submitted(client, "two")
        await client.submit("two", client="other")
        (ended,) = await client.answered(messages.ExecutionFinished)
        assert ended.client == "other"
        rows = await factory.fetch("SELECT id, status FROM executions WHERE client_id = 'acme'")
        assert {row["id"]: row["status"] for row in rows} == {running: "paused", queued: "queued"}
        await set_pause(client, "client", "acme", False)
        await factory.all_over(3)
    assert await factory.statuses() == {"completed": 3}


async def test_what_is_done_again_keeps_the_results_before_it(factory: Factory) -> None:
    await factory.client()
    steps: list[dict[str, Any]] = [
        {"name": "a"},
        {"name": "b", "depends_on": ["a"]},
        {"name": "c", "depends_on": ["b"], "deliver": ["json"]},
    ]
    await factory.template("chain", steps)
    factory.coordinator(**QUICK)
    factory.worker()
    async with factory.connect() as client:
        execution_id = await submitted(client, "chain")
        await factory.all_over(1)
        assert (await steer(client, execution_id, "retry", "b")).reason == "not_possible"
        assert (await steer(client, execution_id, "rerun", "nothing")).reason == "not_possible"
        assert (await steer(client, execution_id, "rerun")).reason == "invalid_message"
        again = await steer(client, execution_id, "rerun", "b")
        assert (again.status, again.epoch) == ("queued", 2)
        await client.answered(messages.ExecutionFinished, 2)
        assert runs(factory) == {"a": 1, "b": 2, "c": 2}
        assert (await steer(client, execution_id, "restart")).epoch == 3
        await client.answered(messages.ExecutionFinished, 3)
    assert runs(factory) == {"a": 2, "b": 3, "c": 3}
    rows = await factory.fetch("SELECT step, epoch, attempt FROM step_executions ORDER BY step")
    assert [tuple(row) for row in rows] == [("a", 3, 2), ("b", 3, 3), ("c", 3, 3)]
    made = await factory.fetch("SELECT step, format, epoch FROM deliverables")
    assert [tuple(row) for row in made] == [("c", "json", 3)]


async def test_a_failed_fan_out_is_tried_again_without_the_shards_that_completed(factory: Factory) -> None:
    await factory.client()
    fan_out = {"over": ["find"], "field": "record"}
    failing = {"fail": "'permanent'", "fail_shards": "[2, 4]", "fail_below_attempt": "2"}
    steps: list[dict[str, Any]] = [
        {"name": "find", "parameters": {"records": "5"}},
        {"name": "read", "depends_on": ["find"], "fan_out": {**fan_out, "window": 1}, "parameters": failing},
        {"name": "tell", "depends_on": ["read"], "inputs": {"upstream": "read"}},
    ]
    await factory.template("wide", steps)
    factory.coordinator(**QUICK)
    factory.worker()
    async with factory.connect() as client:
        execution_id = await submitted(client, "wide")
        (failed,) = await client.answered(messages.ExecutionFinished)
        assert failed.status == "failed"
        await steer(client, execution_id, "retry", "read")
        ended = await client.answered(messages.ExecutionFinished, 2)
    assert ended[-1].status == "completed"
    shards = Counter(int(shard) for _, _, step, shard, _ in factory.runs() if step == "read")
    assert shards[1] == 1, "the shard that completed kept its result"
    assert shards[2] == 2
    (told,) = await factory.fetch("SELECT summary FROM step_executions WHERE step = 'tell'")
    assert told["summary"]["seen"] == 5
    (joined,) = await factory.fetch("SELECT summary FROM step_executions WHERE step = 'read' AND shard = 0")
    assert joined["summary"]["completed"] == 5


async def test_work_of_before_cannot_finish_a_fan_out_that_was_reopened_and_shrank(factory: Factory) -> None:
    await factory.client()
    slow = {"seconds": "60.0", "slow_below_attempt": "2"}
    steps: list[dict[str, Any]] = [
        {"name": "find", "parameters": {"records": "6", "fewer": "2"}},
        {"name": "read", "depends_on": ["find"], "fan_out": {"over": ["find"], "field": "record"}, "parameters": slow},
        {"name": "tell", "depends_on": ["read"], "inputs": {"upstream": "read"}},
    ]
    await factory.template("shrinking", steps)
    factory.coordinator(**QUICK)
    worker = factory.worker()
    async with factory.connect() as client:
        execution_id = await submitted(client, "shrinking")
        await stands(factory, "read", "running", shard=6)
        old = [
            messages.StageCompleted(
                execution_id=execution_id, epoch=1, step="read", shard=shard, attempt=1, worker="zombie",
                output=refs.DataRef(uri="s3://b/old", sha256="0" * 64, size=5000),
            )
            for shard in range(1, 7)
        ]  # fmt: skip
        assert (await steer(client, execution_id, "rerun", "find")).epoch == 2
        for event in old:
            await client.publisher.publish(
                topology.EVENTS, topology.event_key(Tier.BASIC), "StageCompleted", encoding.encode(event)
            )
        (ended,) = await client.answered(messages.ExecutionFinished)
    assert ended.status == "completed"
    rows = await factory.fetch("SELECT shard, epoch, status, attempt, worker FROM step_executions WHERE step = 'read'")
    found = {row["shard"]: (row["epoch"], row["status"], row["attempt"]) for row in rows}
    wanted, left = (2, "completed", 2), (1, "cancelled", 1)
    assert found == {0: wanted, 1: wanted, 2: wanted, 3: wanted, 4: wanted, 5: left, 6: left}
    assert "zombie" not in {row["worker"] for row in rows}
    (told,) = await factory.fetch("SELECT summary FROM step_executions WHERE step = 'tell'")
    assert told["summary"]["seen"] == 4
    stopped = re.findall(r"task_settled outcome=cancelled .* stopped_after=[\d.]+", factory.log(worker))
    assert len(stopped) == 6, "running work of before was stopped through the control stream"


async def test_a_vanished_object_is_made_again_by_its_step(factory: Factory) -> None:
    await factory.client()
    big = {"records": "3", "size": "4000"}
    steps = [
        {"name": "make", "parameters": big},
        {"name": "wait", "depends_on": ["make"], "parameters": {"seconds": "2.0"}},
        {"name": "use", "depends_on": ["wait", "make"], "inputs": {"upstream": "make"}},
    ]
    await factory.template("fragile", steps)
    factory.coordinator(**QUICK)
    factory.worker(concurrency=1)
    async with factory.connect() as client:
        await submitted(client, "fragile")
        await stands(factory, "make", "completed")
        (row,) = await factory.fetch("SELECT output FROM step_executions WHERE step = 'make'")
        async with objects.of(factory.settings, threads=1) as store:
            await store.delete(refs.read(row["output"]))
        (ended,) = await client.answered(messages.ExecutionFinished)
    assert ended.status == "completed"
    assert runs(factory) == {"make": 2, "wait": 2, "use": 1} or runs(factory) == {"make": 2, "wait": 1, "use": 1}
    kinds = {row["kind"] for row in await factory.fetch("SELECT kind FROM timeline")}
    assert "input_gone" in kinds
