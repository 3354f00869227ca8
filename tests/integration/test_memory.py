"""What a coordinator remembers of executions is never believed against the database."""

import json
import uuid
from typing import Any

import pytest

from consumers.coordinator import shortcut, transitions
from consumers.coordinator.engine import facts
from consumers.coordinator.outcome import Outcome
from consumers.coordinator.transitions import Connection, State
from contracts import messages
from contracts.errors import ErrorClass
from contracts.executions import StepExecution
from contracts.messages import TaskKey
from contracts.states import PauseReason, StepStatus
from tests.factories import Factory
from tests.integration.rows import document, state, submit


def completed(execution_id: uuid.UUID, step: str, **fields: Any) -> messages.StageCompleted:
    key = TaskKey(execution_id, 1, step, 0, 1)
    return messages.StageCompleted(**key._asdict(), worker="w", output=document(step), **fields)


async def statuses(tables: Factory, execution_id: uuid.UUID) -> dict[str, str]:
    rows = await tables.fetch("SELECT step, status FROM step_executions WHERE execution_id = $1", execution_id)
    return {row["step"]: row["status"] for row in rows}


async def started(tables: Factory) -> tuple[uuid.UUID, State]:
    (execution_id,) = await submit(tables)
    held = state(tables)
    await transitions.advance(held, [facts.Started(execution_id)])
    return execution_id, held


async def loaded(held: State, execution_id: uuid.UUID) -> dict[str, StepExecution]:
    """What the next transaction works with."""
    async with held.pool.acquire() as connection, connection.transaction():
        found = await transitions.load(connection, held, [facts.TimeUp(execution_id)])
    return {step: row for (step, _), row in found.snapshots[execution_id].rows.items()}


async def test_what_is_remembered_is_what_would_be_read(tables: Factory) -> None:
    execution_id, held = await started(tables)
    summary = {"found": 3}
    for fact in (
        messages.StageAccepted(
            **TaskKey(execution_id, 1, "a", 0, 1)._asdict(), worker="w", redelivered=False, estimate=1.0
        ),
        messages.StageProgress(**TaskKey(execution_id, 1, "a", 0, 1)._asdict(), worker="w", fraction=0.5, note="half"),
        completed(execution_id, "a", summary=summary, metrics={"seconds": 0.25}, files={"html": document("html")}),
    ):
        await transitions.advance(held, [fact])
        assert await loaded(held, execution_id) == await loaded(state(tables), execution_id)


async def test_a_retry_is_remembered_without_its_wait(tables: Factory) -> None:
    execution_id, held = await started(tables)
    failed = messages.StageFailed(
        **TaskKey(execution_id, 1, "a", 0, 1)._asdict(),
        worker="w",
        error_class=ErrorClass.TRANSIENT,
        explanation="away",
    )
    await transitions.advance(held, [failed])
    assert await loaded(held, execution_id) == await loaded(state(tables), execution_id)


async def test_a_row_that_somebody_else_has_written_is_read_again(tables: Factory) -> None:
    execution_id, held = await started(tables)
    await transitions.advance(state(tables), [completed(execution_id, "a")])
    outcome = await transitions.advance(held, [completed(execution_id, "a")])
    assert outcome.ignored.total() == 1, "another coordinator was told before"
    await transitions.advance(held, [completed(execution_id, "b")])
    assert await statuses(tables, execution_id) == {"a": "completed", "b": "completed"}


async def test_a_step_that_a_person_has_changed_counts_as_it_is(tables: Factory) -> None:
    execution_id, held = await started(tables)
    await tables.fetch(
        "UPDATE step_executions SET status = 'failed' WHERE step = 'a' AND execution_id = $1", execution_id
    )
    outcome = await transitions.advance(held, [completed(execution_id, "a")])
    assert outcome.ignored.total() == 1
    assert (await statuses(tables, execution_id))["a"] == "failed"


async def test_what_was_rolled_back_is_not_remembered(tables: Factory) -> None:
    execution_id, held = await started(tables)

    async def lost(connection: Connection) -> None:
        await transitions.apply(connection, held, [completed(execution_id, "a")])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await transitions.transact(held, lost)
    rows = await loaded(held, execution_id)
    assert {step: row.status for step, row in rows.items()} == {
        "a": StepStatus.DISPATCHED,
        "b": StepStatus.PENDING,
    }


def accepted(execution_id: uuid.UUID, step: str) -> messages.StageAccepted:
    key = TaskKey(execution_id, 1, step, 0, 1)
    return messages.StageAccepted(**key._asdict(), worker="w", redelivered=True, estimate=1.0)


def failed(execution_id: uuid.UUID, step: str) -> messages.StageFailed:
    key = TaskKey(execution_id, 1, step, 0, 1)
    return messages.StageFailed(
        **key._asdict(), worker="w", error_class=ErrorClass.TRANSIENT, explanation="away", details={}
    )


async def test_an_event_that_writes_only_steps_goes_the_short_way(tables: Factory) -> None:
    execution_id, held = await started(tables)
    outcome, settled = await shortcut.settle(held, [completed(execution_id, "a")])
    assert settled == {execution_id}
    assert [offer.task.step for offer in outcome.tasks] == ["b"]
    assert await statuses(tables, execution_id) == {"a": "completed", "b": "dispatched"}
    assert await loaded(held, execution_id) == await loaded(state(tables), execution_id)


async def test_an_event_told_twice_counts_once_on_the_short_way(tables: Factory) -> None:
    steps = [{"name": name, "stage": "work"} for name in ("a", "b", "c", "d")]
    (execution_id,) = await submit(tables, steps=steps)
    held = state(tables)
    await transitions.advance(held, [facts.Started(execution_id)])
    outcome, settled = await shortcut.settle(held, [completed(execution_id, "a"), completed(execution_id, "a")])
    assert (settled, outcome.ignored.total()) == ({execution_id}, 1), "both in one statement"
    before = await tables.fetch("SELECT *, xmin FROM step_executions ORDER BY step")
    outcome, settled = await shortcut.settle(held, [completed(execution_id, "a"), accepted(execution_id, "a")])
    assert (settled, outcome.tasks, outcome.ignored.total()) == ({execution_id}, [], 2)
    assert await tables.fetch("SELECT *, xmin FROM step_executions ORDER BY step") == before, "nothing is written"
    outcome, settled = await shortcut.settle(held, [completed(execution_id, "b")])
    assert settled == {execution_id}, "it is still remembered"


async def test_a_late_start_does_not_change_when_a_task_was_offered(tables: Factory) -> None:
    execution_id, held = await started(tables)
    await transitions.advance(held, [failed(execution_id, "a")])
    key = TaskKey(execution_id, 1, "a", 0, 2)
    await transitions.advance(held, [facts.RetryDue(key)])
    offered = (await loaded(held, execution_id))["a"].dispatched_at
    await transitions.advance(held, [accepted(execution_id, "a")])
    row = (await loaded(held, execution_id))["a"]
    assert (row.starts, row.dispatched_at) == (("w",), offered)
    assert await loaded(held, execution_id) == await loaded(state(tables), execution_id)


@pytest.mark.parametrize(
    "written",
    [
        "UPDATE executions SET status = 'paused', pause_reason = 'operator'",
        "UPDATE step_executions SET note = 'by hand' WHERE step = 'b'",
        "UPDATE step_executions SET attempt = 2 WHERE step = 'a'",
        "UPDATE clients SET monthly_budget = 1",
        "DELETE FROM step_executions WHERE step = 'b'",
        "INSERT INTO step_executions (execution_id, step, shard, epoch, attempt, status, stage)"
        " SELECT id, 'c', 0, 1, 1, 'pending', 'work' FROM executions",
    ],
)
async def test_nothing_goes_the_short_way_that_is_not_as_remembered(tables: Factory, written: str) -> None:
    execution_id, held = await started(tables)
    await tables.fetch(written)
    before = await tables.fetch("SELECT * FROM step_executions ORDER BY step")
    outcome, settled = await shortcut.settle(held, [completed(execution_id, "a")])
    assert (outcome.tasks, settled) == ([], set())
    assert await tables.fetch("SELECT * FROM step_executions ORDER BY step") == before


async def test_what_goes_the_short_way_leaves_behind_only_what_has_changed(tables: Factory) -> None:
    first, second = await submit(tables, 2)
    held = state(tables)
    await transitions.advance(held, [facts.Started(first), facts.Started(second)])
    await tables.fetch("UPDATE step_executions SET note = 'by hand' WHERE execution_id = $1", second)
    outcome, settled = await shortcut.settle(held, [completed(first, "a"), completed(second, "a")])
    assert settled == {first}
    assert [offer.task.execution_id for offer in outcome.tasks] == [first]
    assert (await statuses(tables, second))["a"] == "dispatched"


async def test_what_needs_more_takes_the_long_way(tables: Factory) -> None:
    execution_id, held = await started(tables)
    _, settled = await shortcut.settle(held, [failed(execution_id, "a")])
    assert not settled, "its retry needs a timer"
    _, settled = await shortcut.settle(state(tables), [completed(execution_id, "a")])
    assert not settled, "another coordinator remembers nothing"


async def test_an_execution_ends_on_the_short_way_as_on_the_long_one(tables: Factory) -> None:
    steps: list[dict[str, Any]] = [
        {"name": "a", "stage": "work"},
        {"name": "b", "stage": "work", "depends_on": ["a"], "deliver": ["json"]},
    ]
    executions = await submit(tables, 3, steps=steps)
    held = state(tables)
    await transitions.advance(held, [facts.Started(execution_id) for execution_id in executions])
    await transitions.advance(held, [completed(execution_id, "a") for execution_id in executions])
    await transitions.advance(state(tables), [completed(executions[0], "b")])
    outcome, settled = await shortcut.settle(held, [completed(execution_id, "b") for execution_id in executions])
    assert settled == set(executions[1:]), "the first has ended already"
    assert len(outcome.finished) == 2
    owed = await tables.fetch("SELECT * FROM outbox ORDER BY id")
    assert [(o.id, o.execution_id, o.routing_key, o.body) for o in outcome.owed] == [
        (row["id"], row["execution_id"], row["routing_key"], row["body"])
        for row in owed
        if row["execution_id"] in settled
    ]
    assert len(owed) == 6, "each is told to whoever asked and to whoever watches"
    found = await tables.fetch("SELECT status, finished_at, explanation FROM executions")
    assert [(row["status"], row["explanation"]) for row in found] == [("completed", "")] * 3
    assert all(row["finished_at"] for row in found)
    delivered = await tables.fetch("SELECT step, format, epoch, ref FROM deliverables")
    assert [(row["step"], row["format"], row["epoch"]) for row in delivered] == [("b", "json", 1)] * 3
    told = [json.loads(row["body"]) for row in owed if row["message_type"] == "ExecutionFinished"]
    assert all(0 < message["seconds"] < 60 for message in told)
    assert {len(message["deliverables"]) for message in told} == {1}


async def test_the_short_way_leaves_alone_what_somebody_is_deciding(tables: Factory) -> None:
    first, second = await submit(tables, 2)
    held = state(tables)
    await transitions.advance(held, [facts.Started(first), facts.Started(second)])

    async def cancelled(connection: Connection) -> set[uuid.UUID]:
        await transitions.apply(connection, state(tables), [facts.Cancelled(first, "somebody")])
        _, settled = await shortcut.settle(held, [completed(first, "a"), completed(second, "a")])
        return settled

    assert await transitions.transact(held, cancelled) == {second}
    assert (await statuses(tables, first))["a"] == "cancelled"
    assert (await statuses(tables, second))["b"] == "dispatched"


async def test_what_is_not_committed_is_not_remembered(tables: Factory) -> None:
    steps = [{"name": "a", "stage": "work"}, {"name": "b", "stage": "work"}]
    (execution_id,) = await submit(tables, steps=steps)
    held = state(tables)
    await transitions.advance(held, [facts.Started(execution_id)])
    before = held.memory.known(execution_id)

    async def twice(connection: Connection) -> Outcome:
        outcome = await transitions.apply(connection, held, [accepted(execution_id, "a")])
        assert held.memory.known(execution_id) is before, "rows that one transaction writes twice keep one version"
        outcome.add(await transitions.apply(connection, held, [facts.Paused(execution_id, PauseReason.OPERATOR)]))
        return outcome

    held.remember(await transitions.transact(held, twice))
    assert await loaded(held, execution_id) == await loaded(state(tables), execution_id)
    assert await shortcut.settle(held, [completed(execution_id, "b")]) == (Outcome(), set()), "it is paused"


async def test_the_age_of_an_execution_is_that_of_its_submission(tables: Factory) -> None:
    execution_id, held = await started(tables)
    before = held.memory.known(execution_id)
    await shortcut.settle(held, [accepted(execution_id, "a")])
    _, settled = await shortcut.settle(held, [completed(execution_id, "a")])
    after = held.memory.known(execution_id)
    assert settled == {execution_id}
    assert before is not None
    assert after is not None
    assert after.snapshot.rows != before.snapshot.rows
    assert after.began == before.began
