"""What a coordinator remembers of executions is never believed against the database."""

import uuid
from typing import Any

import pytest

from consumers.coordinator import transitions
from consumers.coordinator.engine import facts
from consumers.coordinator.transitions import Connection, State
from contracts import messages
from contracts.errors import ErrorClass
from contracts.executions import StepExecution
from contracts.messages import TaskKey
from contracts.states import StepStatus
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
