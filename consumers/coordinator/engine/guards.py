"""Which facts about a task count: those about its current attempt, in the state they belong to."""

from collections.abc import Mapping
from typing import TypeGuard

from consumers.coordinator.engine import facts
from consumers.coordinator.engine.snapshot import Snapshot
from contracts import messages
from contracts.executions import StepExecution
from contracts.states import EXECUTION_OVER, STEP_OFFERED, StepStatus

_EXPECTED: Mapping[type, frozenset[StepStatus]] = {
    facts.RetryDue: frozenset({StepStatus.WAITING}),
    facts.Prepared: frozenset({StepStatus.READY}),
}
"""In which status a row must be for these facts to count."""


def is_late_start(fact: facts.TaskFact, snapshot: Snapshot, row: StepExecution) -> TypeGuard[messages.StageAccepted]:
    """Whether a worker has begun an earlier attempt of what is still to be done, from a copy that was left of its task.

    It cannot finish it, but it may die of it, and then that death counts towards a crash loop.
    """
    return (
        isinstance(fact, messages.StageAccepted)
        and fact.epoch == row.epoch == snapshot.step(row.step).epoch
        and fact.attempt < row.attempt
        and row.status in STEP_OFFERED
        and row.shards is None
        and fact.worker not in row.starts
    )


def refusal(snapshot: Snapshot, row: StepExecution | None, fact: facts.TaskFact) -> str | None:
    """Why a fact about a task does not count, None if it does."""
    if row is None:
        return "unknown"
    parent = snapshot.step(row.step)
    # Shards that a reopened step has left behind keep their epoch; they are rows, and no part of it any more.
    key = fact.key
    if (key.epoch, key.attempt) != (row.epoch, row.attempt) or row.epoch != parent.epoch:
        return "stale"
    if row is parent and row.shards is not None:
        return "fanned_out"
    if snapshot.execution.status in EXECUTION_OVER:
        return "over"
    if isinstance(fact, facts.RetryDue | facts.Prepared) and not snapshot.running:
        return "paused"
    if row.status not in _EXPECTED.get(type(fact), STEP_OFFERED):
        return "duplicate"
    if isinstance(fact, facts.LeaseLapsed | facts.TaskLost):
        holder = fact.worker if isinstance(fact, facts.LeaseLapsed) else None
        return None if holder == row.worker else "stale"
    return None
