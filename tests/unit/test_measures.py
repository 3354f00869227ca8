"""What a coordinator counts of a transaction: how long tasks waited, attempts and retries, ends."""

import datetime
import uuid
from typing import Any

import pytest

from consumers.coordinator import measures
from consumers.coordinator.engine.snapshot import Snapshot
from consumers.coordinator.outcome import Ended, Outcome
from contracts import messages, templates
from contracts.errors import ErrorClass
from contracts.executions import Execution, StepExecution
from contracts.states import ExecutionStatus, StepStatus
from contracts.tiers import OptimiseFor, Quality, Tier
from infra import registries

OFFERED = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
TEMPLATE = templates.parse({"name": "plain", "steps": [{"name": "a", "stage": "work"}]})


@pytest.fixture
def stage() -> str:
    """A stage of which nothing has been counted."""
    return f"stage_{uuid.uuid4().hex}"


def execution(status: ExecutionStatus = ExecutionStatus.RUNNING, **fields: Any) -> Execution:
    return Execution(
        id=uuid.uuid4(),
        client="acme",
        submit_key="k",
        template=fields.pop("template", "plain"),
        template_version=1,
        parameters={},
        tier=Tier.PREMIUM,
        quality=Quality.STANDARD,
        optimise_for=OptimiseFor.BALANCE,
        epoch=1,
        status=status,
        **fields,
    )


def row(stage: str, status: StepStatus = StepStatus.DISPATCHED, **fields: Any) -> StepExecution:
    values = {"epoch": 1, "attempt": 1, "dispatched_at": OFFERED, **fields}
    return StepExecution(execution_id=uuid.UUID(int=1), step="a", shard=0, status=status, stage=stage, **values)


def note(old: StepExecution, new: StepExecution, after: float) -> None:
    """Counts a change of a row so many seconds after its offer."""
    one = execution()
    before = Snapshot(one, TEMPLATE, {("a", 0): old})
    changed = [(before, Snapshot(one, TEMPLATE, {("a", 0): new}))]
    measures.note(Outcome(changed=changed, at=OFFERED + datetime.timedelta(seconds=after)))


def value(name: str, **labels: str) -> float:
    """What is counted under this name; 0 where nothing is yet."""
    return registries.REGISTRIES["coordinator"].get_sample_value(name, labels) or 0.0


def waited(stage: str) -> tuple[float, float]:
    """How many waits were counted, and their sum."""
    labels = {"stage": stage, "tier": "premium"}
    return (
        value("factory_queue_wait_seconds_count", **labels),
        round(value("factory_queue_wait_seconds_sum", **labels), 3),
    )


def test_a_short_task_waited_until_it_was_begun_and_not_until_its_end(stage: str) -> None:
    old = row(stage)
    note(old, old._replace(status=StepStatus.COMPLETED, metrics={"seconds": 3.0}), 10.0)
    assert waited(stage) == (1, 7.0)
    assert value("factory_steps_finished_total", stage=stage, tier="premium", outcome="completed") == 1
    assert value("factory_step_attempts_total", stage=stage) == 1


def test_a_task_whose_start_is_told_waited_until_then(stage: str) -> None:
    old = row(stage)
    running = old._replace(status=StepStatus.RUNNING, worker="w")
    note(old, running, 10.2)
    note(running, running._replace(status=StepStatus.COMPLETED, metrics={"seconds": 60.0}), 70.0)
    assert waited(stage) == (1, 10.0), "the worker tells of it 0.2 s later; its end is no second wait"


def test_the_work_of_the_attempt_before_is_not_taken_off_the_wait_of_the_next(stage: str) -> None:
    old = row(stage, attempt=2, metrics={"seconds": 30.0})
    note(old, old._replace(status=StepStatus.RUNNING, worker="w"), 20.0)
    assert waited(stage) == (1, 20.0)


def test_an_attempt_that_failed_at_once_waited_as_well_and_is_made_again(stage: str) -> None:
    old = row(stage)
    failed = old._replace(metrics={"seconds": 1.0}, error_class=ErrorClass.TRANSIENT)
    note(old, failed._replace(status=StepStatus.WAITING, attempt=2), 5.0)
    assert waited(stage) == (1, 4.0)
    assert value("factory_retries_total", stage=stage, error_class="transient") == 1
    assert value("factory_step_attempts_total", stage=stage) == 1
    assert value("factory_steps_finished_total", stage=stage, tier="premium", outcome="failed") == 0


def test_what_is_cancelled_before_anybody_began_it_waited_for_nobody(stage: str) -> None:
    old = row(stage)
    note(old, old._replace(status=StepStatus.CANCELLED), 3600.0)
    assert waited(stage) == (0, 0)
    assert value("factory_step_attempts_total", stage=stage) == 0
    assert value("factory_steps_finished_total", stage=stage, tier="premium", outcome="cancelled") == 1


def test_a_step_that_is_done_again_counts_its_attempts_of_now(stage: str) -> None:
    old = row(stage, attempt=7, epoch=3)
    note(old, old._replace(status=StepStatus.COMPLETED, metrics={"seconds": 1.0}), 2.0)
    assert value("factory_step_attempts_total", stage=stage) == 1


def test_the_end_of_an_execution_counts_once_with_how_long_it_took() -> None:
    over = execution(ExecutionStatus.FAILED, template=f"t{uuid.uuid4().hex}")
    message = messages.ExecutionFinished(
        execution_id=over.id, submit_key="k", client="acme", status=over.status, explanation="", seconds=12.5
    )
    measures.note(Outcome(finished=[Ended(over, message)]))
    labels = {"template": over.template, "tier": "premium"}
    assert value("factory_executions_finished_total", **labels, outcome="failed") == 1
    assert value("factory_executions_finished_total", **labels, outcome="completed") == 0
    assert value("factory_execution_seconds_sum", **labels) == 12.5


def admitted(rows: dict[tuple[str, int], StepExecution]) -> float:
    """By how much the count of admissions rises when an execution with these rows gets its slot."""
    count = value("factory_admission_wait_seconds_count", tier="premium")
    waiting = execution(ExecutionStatus.QUEUED, seconds=86_400.0)
    running = Snapshot(waiting._replace(status=ExecutionStatus.RUNNING), TEMPLATE, rows)
    measures.note(Outcome(changed=[(Snapshot(waiting, TEMPLATE, rows), running)]))
    return value("factory_admission_wait_seconds_count", tier="premium") - count


def test_the_wait_for_a_slot_is_that_of_the_first_admission(stage: str) -> None:
    assert admitted({("a", 0): row(stage, StepStatus.PENDING)}) == 1
    assert admitted({("a", 0): row(stage, StepStatus.COMPLETED)}) == 0, "since when it waits again is not known"
    assert admitted({("a", 0): row(stage, StepStatus.PENDING, attempt=3)}) == 0
