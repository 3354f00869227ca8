"""What the failure of an attempt leaves in its row, and what the failure of a whole step means for its execution."""

import dataclasses

from consumers.coordinator import endings
from consumers.coordinator.effects import Change, StepDied
from contracts import messages
from contracts.errors import ErrorClass
from contracts.executions import StepExecution
from contracts.states import ExecutionStatus, StepStatus

EXPLANATION_LIMIT = 2000
"""Characters, as in every message that passes an explanation on."""


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed."""

    error_class: ErrorClass
    explanation: str
    details: messages.Details = dataclasses.field(default_factory=dict)
    after: float | None = None
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    worker: str | None = None


def reported(fact: messages.StageFailed) -> Failure:
    """The failure that a worker tells of."""
    return Failure(fact.error_class, fact.explanation, fact.details, fact.after, fact.metrics, fact.worker)


def noted(row: StepExecution, failure: Failure) -> StepExecution:
    """The row with the failure written down. A start that ended with it did not end with the death of its worker."""
    worker = failure.worker or row.worker
    looped = failure.error_class is ErrorClass.CRASH_LOOP
    return dataclasses.replace(
        row,
        error_class=failure.error_class,
        error=failure.explanation[:EXPLANATION_LIMIT],
        error_details=failure.details,
        metrics=failure.metrics,
        worker=worker,
        starts=() if looped else tuple(name for name in row.starts if name != worker),
        fraction=None,
        note=None,
    )


def fail_step(change: Change, row: StepExecution, failure: Failure) -> Change:
    """Fails a step for good, and its execution with it unless the step is optional."""
    failed = dataclasses.replace(noted(row, failure), status=StepStatus.FAILED)
    change = change.to(change.snapshot.with_row(failed))
    if change.snapshot.template.step(failed.step).optional:
        return change
    explanation = f"step '{failed.step}' failed: {failed.error}"
    return endings.end(change.plus(StepDied(failed)), ExecutionStatus.FAILED, explanation)
