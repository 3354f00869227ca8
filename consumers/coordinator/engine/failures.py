"""What the failure of an attempt leaves in its row, and what the failure of a whole step means for its execution."""

import dataclasses

from consumers.coordinator.engine import endings
from consumers.coordinator.engine.effects import Change, StepDied
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
    outage: bool = False


def reported(fact: messages.StageFailed) -> Failure:
    """The failure that a worker tells of."""
    told = (fact.error_class, fact.explanation, fact.details, fact.after, fact.metrics, fact.worker)
    return Failure(*told, outage=fact.outage)


def noted(row: StepExecution, failure: Failure) -> StepExecution:
    """The row with the failure written down."""
    return row._replace(
        error_class=failure.error_class,
        error=failure.explanation[:EXPLANATION_LIMIT],
        error_details=failure.details,
        metrics=failure.metrics,
        worker=failure.worker or row.worker,
        fraction=None,
        note=None,
    )


def deaths_so_far(told: StepExecution) -> tuple[str, ...]:
    """The starts that still count towards a crash loop in the next attempt at a row in which a failure is noted.

    The start that ended with the failure did not end with the death of its worker, and a crash loop begins anew.
    """
    if told.error_class is ErrorClass.CRASH_LOOP:
        return ()
    return tuple(worker for worker in told.starts if worker != told.worker)


def fail_step(change: Change, row: StepExecution, failure: Failure) -> Change:
    """Fails a step for good, and its execution with it unless the step is optional."""
    failed = noted(row, failure)._replace(status=StepStatus.FAILED)
    change = change.to(change.snapshot.with_row(failed))
    if change.snapshot.template.step(failed.step).optional:
        return change
    explanation = f"step '{failed.step}' failed: {failed.error}"
    return endings.end(change.plus(StepDied(failed)), ExecutionStatus.FAILED, explanation)
