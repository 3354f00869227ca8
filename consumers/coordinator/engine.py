"""Every transition of an execution, as pure functions of its rows and of one fact."""

import dataclasses
from collections.abc import Callable

from consumers.coordinator import backoff, endings, facts, failures, guards, joins, offers
from consumers.coordinator.effects import (
    Change,
    Delivered,
    Ignored,
    Offer,
    Prepare,
    Recorded,
)
from consumers.coordinator.failures import Failure
from consumers.coordinator.snapshot import Snapshot
from contracts import messages
from contracts.errors import ErrorClass, FactoryError
from contracts.executions import StepExecution
from contracts.states import EXECUTION_OVER, STEP_OVER, ExecutionStatus, StepStatus
from contracts.templates import Retry, Step


@dataclasses.dataclass(frozen=True, slots=True)
class Tools:
    """What the transitions may not make up themselves: the value of an expression, and chance."""

    evaluate: offers.Evaluate
    random: Callable[[], float]


def initial_rows(snapshot: Snapshot) -> list[StepExecution]:
    """The rows of an execution that starts: every step, pending."""
    return [
        StepExecution(
            execution_id=snapshot.id,
            step=step.name,
            shard=0,
            epoch=snapshot.execution.epoch,
            attempt=1,
            status=StepStatus.PENDING,
            stage=step.stage,
        )
        for step in snapshot.template.steps
    ]


def apply(snapshot: Snapshot, fact: facts.Fact, tools: Tools) -> Change:
    """The change that a fact makes; a fact that is late, repeated or about other work makes none."""
    change = Change(snapshot)
    match fact:
        case facts.Started():
            return _start(change, tools)
        case facts.Cancelled():
            return _cancel(change, fact)
        case _:
            row = snapshot.rows.get((fact.key.step, fact.key.shard))
            refused = guards.refusal(snapshot, row, fact)
            if row is None or refused:
                return change.plus(Ignored(refused or "unknown"))
            return _apply_to(change, row, fact, tools)


def _apply_to(change: Change, row: StepExecution, fact: facts.TaskFact, tools: Tools) -> Change:
    match fact:
        case messages.StageAccepted():
            return _accept(change, row, fact)
        case messages.StageProgress():
            return _progress(change, row, fact)
        case messages.StageCompleted():
            change = _complete(change, row, fact)
        case messages.StageFailed():
            change = _fail(change, row, failures.reported(fact), tools)
        case facts.Prepared():
            change = _dispatch(change, dataclasses.replace(row, inputs=fact.inputs, manifest=fact.manifest), tools)
        case facts.RetryDue():
            change = _offer(change, row, tools)
        case facts.LeaseLapsed():
            change = _again(change, row, "lease_lapsed", {"worker": fact.worker}, tools)
        case facts.TaskLost():
            change = _again(change, row, "task_lost", {}, tools)
        case facts.TaskDied():
            change = _again(change, row, "task_died", {}, tools)
        case facts.DeadlinePassed():
            text = "the worker held the task past its time-out"
            change = _fail(change, row, Failure(ErrorClass.TIMEOUT, text), tools)
        case facts.CrashLooped():
            text = f"{fact.starts} starts of this task each ended with the death of its worker"
            change = _fail(change, row, Failure(ErrorClass.CRASH_LOOP, text), tools)
    return advance(change, tools)


# --- The life of an execution ----------------------------------------------------------------------------------------


def _start(change: Change, tools: Tools) -> Change:
    if change.snapshot.execution.status is not ExecutionStatus.QUEUED:
        return change.plus(Ignored("duplicate"))
    return advance(change.to(change.snapshot.with_status(ExecutionStatus.RUNNING)), tools)


def _cancel(change: Change, fact: facts.Cancelled) -> Change:
    if change.snapshot.execution.status in EXECUTION_OVER:
        return change.plus(Ignored("over"))
    recorded = Recorded("cancelled", actor=fact.actor, detail={"note": fact.note})
    return endings.end(change.plus(recorded), ExecutionStatus.CANCELLED, fact.note or f"cancelled by {fact.actor}")


def advance(change: Change, tools: Tools) -> Change:
    """Begins every step whose upstream is done, until none can begin; then ends the execution if all is over."""
    moved = True
    while moved and change.snapshot.execution.status is ExecutionStatus.RUNNING:
        moved = False
        for step in change.snapshot.template.steps:
            row = change.snapshot.step(step.name)
            running = change.snapshot.execution.status is ExecutionStatus.RUNNING
            if running and row.status is StepStatus.PENDING and _upstream_done(change.snapshot, step):
                change = _begin(change, step, row, tools)
                moved = True
    return _conclude(change)


def _upstream_done(snapshot: Snapshot, step: Step) -> bool:
    for name in step.depends_on:
        status = snapshot.step(name).status
        tolerated = status is StepStatus.FAILED and snapshot.template.step(name).optional
        if status not in (StepStatus.COMPLETED, StepStatus.SKIPPED) and not tolerated:
            return False
    return True


def _conclude(change: Change) -> Change:
    snapshot = change.snapshot
    rows = [snapshot.step(step.name) for step in snapshot.template.steps]
    if snapshot.execution.status is not ExecutionStatus.RUNNING or any(row.status not in STEP_OVER for row in rows):
        return change
    failed = [row.step for row in rows if row.status is StepStatus.FAILED]
    if failed:
        return endings.end(change, ExecutionStatus.PARTIAL, "without " + ", ".join(failed))
    return endings.end(change, ExecutionStatus.COMPLETED, "")


# --- The life of a step ----------------------------------------------------------------------------------------------


def _begin(change: Change, step: Step, row: StepExecution, tools: Tools) -> Change:
    try:
        wanted = True if step.when is None else tools.evaluate(step.when, change.snapshot.variables())
        if not isinstance(wanted, bool):
            raise FactoryError(f"the condition of step '{step.name}' is {wanted!r:.80}; make it true or false")
        prepare = wanted and offers.needs_preparing(change.snapshot, step)
    except FactoryError as error:
        return _fail_for_good(change, row, Failure(ErrorClass.INVALID_INPUT, str(error)))
    if not wanted:
        return change.to(change.snapshot.with_row(dataclasses.replace(row, status=StepStatus.SKIPPED)))
    if prepare:
        ready = dataclasses.replace(row, status=StepStatus.READY)
        return change.to(change.snapshot.with_row(ready)).plus(Prepare(ready.key))
    return _dispatch(change, row, tools)


def _dispatch(change: Change, row: StepExecution, tools: Tools) -> Change:
    if change.snapshot.template.step(row.step).fan_out:
        return joins.begin(change, row, tools.evaluate)
    return _offer(change, row, tools)


def _offer(change: Change, row: StepExecution, tools: Tools) -> Change:
    """Dispatches a row; one whose task cannot be built fails, and no other attempt or stage would mend that."""
    offered = dataclasses.replace(row, status=StepStatus.DISPATCHED, worker=None, fraction=None, note=None, wait=None)
    snapshot = change.snapshot.with_row(offered)
    try:
        task = offers.build(snapshot, offered, tools.evaluate)
    except FactoryError as error:
        return _fail_for_good(change, row, Failure(ErrorClass.INVALID_INPUT, str(error)))
    return change.to(snapshot).plus(Offer(task))


def _again(change: Change, row: StepExecution, kind: str, detail: dict[str, object], tools: Tools) -> Change:
    """Offers a lost task anew as the next attempt, which is not charged as a retry."""
    recorded = Recorded(kind, row.step, row.shard, row.attempt, detail=detail)
    return _offer(change.plus(recorded), dataclasses.replace(row, attempt=row.attempt + 1), tools)


def _accept(change: Change, row: StepExecution, fact: messages.StageAccepted) -> Change:
    known = fact.worker in row.starts
    if known and row.worker == fact.worker and row.status is StepStatus.RUNNING:
        return change.plus(Ignored("duplicate"))
    starts = row.starts if known else (*row.starts, fact.worker)
    return change.to(
        change.snapshot.with_row(dataclasses.replace(row, status=StepStatus.RUNNING, worker=fact.worker, starts=starts))
    )


def _progress(change: Change, row: StepExecution, fact: messages.StageProgress) -> Change:
    told = dataclasses.replace(
        row, status=StepStatus.RUNNING, worker=fact.worker, fraction=fact.fraction, note=fact.note or None
    )
    return change.plus(Ignored("duplicate")) if told == row else change.to(change.snapshot.with_row(told))


def _complete(change: Change, row: StepExecution, fact: messages.StageCompleted) -> Change:
    done = dataclasses.replace(
        row,
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


def _fail(change: Change, row: StepExecution, failure: Failure, tools: Tools) -> Change:
    """Waits for another attempt, falls back to another stage, or fails the row for good."""
    step = change.snapshot.template.step(row.step)
    retry = step.retry or Retry()
    told = failures.noted(row, failure)
    detail = {"error_class": failure.error_class.value, "error": told.error, "worker": failure.worker}
    if failure.error_class in retry.classes and row.retries + 1 < retry.attempts:
        wait = max(backoff.delay(retry, row.retries, tools.random()), failure.after or 0.0)
        waiting = dataclasses.replace(
            told,
            status=StepStatus.WAITING,
            attempt=row.attempt + 1,
            retries=row.retries + 1,
            wait=wait,
            worker=None,
            starts=failures.deaths_so_far(told),
        )
        recorded = Recorded("retry", row.step, row.shard, row.attempt, detail={**detail, "wait": round(wait, 3)})
        return change.to(change.snapshot.with_row(waiting)).plus(recorded)
    if row.fallback < len(step.fallback):
        stage = step.fallback[row.fallback]
        recorded = Recorded("fallback", row.step, row.shard, row.attempt, detail={**detail, "stage": stage})
        other = dataclasses.replace(
            told, stage=stage, fallback=row.fallback + 1, retries=0, attempt=row.attempt + 1, starts=()
        )
        return _offer(change.plus(recorded), other, tools)
    return _fail_for_good(change, row, failure)


def _fail_for_good(change: Change, row: StepExecution, failure: Failure) -> Change:
    if not row.shard:
        return failures.fail_step(change, row, failure)
    failed = dataclasses.replace(failures.noted(row, failure), status=StepStatus.FAILED)
    return joins.count(change.to(change.snapshot.with_row(failed)), failed)
