"""The life of an attempt: offered, accepted, completed, or failed and tried again, elsewhere or not at all."""

from consumers.coordinator.engine import backoff, endings, facts, failures, joins, offers, pauses, reopening
from consumers.coordinator.engine.effects import Change, Delivered, Ignored, Recorded, StepDied
from consumers.coordinator.engine.failures import Failure
from consumers.coordinator.engine.tools import Tools
from contracts import messages
from contracts.errors import ErrorClass, FactoryError
from contracts.executions import StepExecution
from contracts.states import ExecutionStatus, PauseReason, StepStatus
from contracts.templates import Retry

MOST_ATTEMPTS = 500
"""Attempts of one row after which an outage is charged like any failure: it lasts an hour by then, or is none."""


def offer(change: Change, row: StepExecution, tools: Tools) -> Change:
    """Dispatches a row; one whose task cannot be built fails, and no other attempt or stage would mend that.

    While the execution does not run, the row waits until it does.
    """
    if not change.snapshot.running:
        waiting = row._replace(status=StepStatus.WAITING, worker=None, fraction=None, note=None, wait=None)
        return change.to(change.snapshot.with_row(waiting))
    offered = row._replace(status=StepStatus.DISPATCHED, worker=None, fraction=None, note=None, wait=None)
    snapshot = change.snapshot.with_row(offered)
    try:
        offer = offers.offer(snapshot, offered, tools.evaluate)
    except FactoryError as error:
        return fail_for_good(change, row, Failure(ErrorClass.INVALID_INPUT, str(error)))
    return change.to(snapshot).plus(offer)


def again(change: Change, row: StepExecution, kind: str, detail: dict[str, object], tools: Tools) -> Change:
    """Offers a lost task anew as the next attempt, which is not charged as a retry."""
    recorded = Recorded(kind, row.step, row.shard, row.attempt, detail={**detail, "stage": row.stage})
    return offer(change.plus(recorded), row._replace(attempt=row.attempt + 1), tools)


def accept(change: Change, row: StepExecution, fact: messages.StageAccepted) -> Change:
    known = fact.worker in row.starts
    if known and row.worker == fact.worker and row.status is StepStatus.RUNNING:
        return change.plus(Ignored("duplicate"))
    starts = row.starts if known else (*row.starts, fact.worker)
    return change.to(
        change.snapshot.with_row(row._replace(status=StepStatus.RUNNING, worker=fact.worker, starts=starts))
    )


def note_late_start(change: Change, row: StepExecution, worker: str) -> Change:
    """Counts the start of a copy; the attempt that counts is still the row's own."""
    return change.to(change.snapshot.with_row(row._replace(starts=(*row.starts, worker))))


def progress(change: Change, row: StepExecution, fact: messages.StageProgress) -> Change:
    told = row._replace(status=StepStatus.RUNNING, worker=fact.worker, fraction=fact.fraction, note=fact.note or None)
    return change.plus(Ignored("duplicate")) if told == row else change.to(change.snapshot.with_row(told))


def complete(change: Change, row: StepExecution, fact: messages.StageCompleted) -> Change:
    done = row._replace(
        status=StepStatus.COMPLETED,
        worker=fact.worker,
        output=fact.output,
        files=fact.files,
        summary=fact.summary,
        metrics=fact.metrics,
        error_class=None,
        error=None,
        error_details={},
        fraction=None,
        note=None,
    )
    change = change.to(change.snapshot.with_row(done))
    if row.shard:
        return joins.count(change, done)
    return change.plus(*(Delivered(item) for item in endings.deliverables(change.snapshot, row.step)))


def fail(change: Change, row: StepExecution, failure: Failure, tools: Tools) -> Change:
    """Waits for another attempt, falls back to another stage, or fails the row for good.

    Money that is used up and inputs that have vanished are mended otherwise, where they can be.
    """
    if failure.error_class is ErrorClass.BUDGET and (changed := _over_budget(change, row, failure, tools)):
        return changed
    if failure.error_class is ErrorClass.INPUT_GONE and (changed := reopening.remake(change, row, failure)):
        return changed
    step = change.snapshot.template.step(row.step)
    retry = step.retry or Retry()
    told = failures.noted(row, failure)
    detail: dict[str, object] = {
        "error_class": failure.error_class.value,
        "error": told.error,
        "worker": failure.worker,
        # After a fallback the row names another one.
        "stage": row.stage,
    }
    if failure.outage and row.attempt < MOST_ATTEMPTS:
        return _wait(change, told, "outage", backoff.after_outage(tools.random()), detail)
    if failure.error_class in retry.classes and row.retries + 1 < retry.attempts:
        wait = max(backoff.delay(retry, row.retries, tools.random()), failure.after or 0.0)
        return _wait(change, told._replace(retries=row.retries + 1), "retry", wait, detail)
    if row.fallback < len(step.fallback):
        stage = step.fallback[row.fallback]
        recorded = Recorded("fallback", row.step, row.shard, row.attempt, detail={**detail, "fallback": stage})
        other = told._replace(stage=stage, fallback=row.fallback + 1, retries=0, attempt=row.attempt + 1, starts=())
        return offer(change.plus(recorded), other, tools)
    return fail_for_good(change, row, failure)


def _wait(change: Change, told: StepExecution, kind: str, wait: float, detail: dict[str, object]) -> Change:
    """Lets a row in which a failure is noted wait for its next attempt."""
    waiting = told._replace(
        status=StepStatus.WAITING,
        attempt=told.attempt + 1,
        wait=wait if change.snapshot.running else None,
        worker=None,
        starts=failures.deaths_so_far(told),
    )
    recorded = Recorded(kind, told.step, told.shard, told.attempt, detail={**detail, "wait": round(wait, 3)})
    return change.to(change.snapshot.with_row(waiting)).plus(recorded)


def _over_budget(change: Change, row: StepExecution, failure: Failure, tools: Tools) -> Change | None:
    """What the template wants where the money is used up; None where not even doing without would help."""
    detail = {"error": failure.explanation[:500], "worker": failure.worker, "stage": row.stage}
    recorded = Recorded("over_budget", row.step, row.shard, row.attempt, detail=detail)
    again = failures.noted(row, failure)._replace(attempt=row.attempt + 1, starts=())
    match change.snapshot.template.on_budget:
        case "degrade":
            if row.degraded:
                return None
            parent = change.snapshot.step(row.step)._replace(degraded=True)
            # The shards that follow need not find out for themselves.
            change = change.to(change.snapshot.with_row(parent)).plus(recorded)
            return offer(change, again._replace(degraded=True), tools)
        case "pause":
            change = change.plus(recorded)
            if change.snapshot.execution.status is not ExecutionStatus.PAUSED:
                change = pauses.pause(change, facts.Paused(row.execution_id, PauseReason.BUDGET))
            return offer(change, again, tools)
        case "stop":
            return _stop(change.plus(recorded), row, failure)


def _stop(change: Change, row: StepExecution, failure: Failure) -> Change:
    """Ends the execution with what it has; its step is for a person, who may find more money."""
    parent = change.snapshot.step(row.step)
    if row.shard:
        shard = failures.noted(row, failure)._replace(status=StepStatus.FAILED)
        change = joins.abandon(change.to(change.snapshot.with_row(shard)), parent)
    failed = failures.noted(parent, failure)._replace(status=StepStatus.FAILED)
    change = change.to(change.snapshot.with_row(failed)).plus(StepDied(failed))
    return endings.end_early(change, f"step '{row.step}' stopped: {failed.error}")


def fail_for_good(change: Change, row: StepExecution, failure: Failure) -> Change:
    if not row.shard:
        return failures.fail_step(change, row, failure)
    failed = failures.noted(row, failure)._replace(status=StepStatus.FAILED)
    return joins.count(change.to(change.snapshot.with_row(failed)), failed)
