"""Every transition of an execution, as pure functions of its rows and of one fact."""

import dataclasses
from collections.abc import Callable

from consumers.coordinator import backoff, endings, facts, guards, joins, offers
from consumers.coordinator.effects import (
    CancelShards,
    Change,
    Delivered,
    Ignored,
    Offer,
    OpenShards,
    Prepare,
    Recorded,
    StepDied,
)
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
            return _complete(change, row, fact, tools)
        case messages.StageFailed():
            failure = Failure(fact.error_class, fact.explanation, fact.details, fact.after, fact.metrics, fact.worker)
            return _fail(change, row, failure, tools)
        case facts.Prepared():
            prepared = dataclasses.replace(row, inputs=fact.inputs, manifest=fact.manifest)
            step = change.snapshot.template.step(row.step)
            begin = _open if step.fan_out else _offer
            return begin(change, prepared, tools)
        case facts.RetryDue():
            return _offer(change, row, tools)
        case facts.LeaseLapsed():
            return _again(change, row, "lease_lapsed", {"worker": fact.worker}, tools)
        case facts.TaskLost():
            return _again(change, row, "task_lost", {}, tools)
        case facts.TaskDied():
            return _again(change, row, "task_died", {}, tools)
        case facts.DeadlinePassed():
            return _fail(change, row, Failure(ErrorClass.TIMEOUT, "the worker held the task past its time-out"), tools)
        case facts.CrashLooped():
            text = f"{fact.starts} starts of this task each ended with the death of its worker"
            return _fail(change, row, Failure(ErrorClass.CRASH_LOOP, text), tools)


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
    except FactoryError as error:
        return _fail(change, row, Failure(ErrorClass.INVALID_INPUT, str(error)), tools)
    if not wanted:
        return change.to(change.snapshot.with_row(dataclasses.replace(row, status=StepStatus.SKIPPED)))
    if offers.needs_preparing(change.snapshot, step):
        ready = dataclasses.replace(row, status=StepStatus.READY)
        return change.to(change.snapshot.with_row(ready)).plus(Prepare(ready.key))
    return (_open if step.fan_out else _offer)(change, row, tools)


def _offer(change: Change, row: StepExecution, tools: Tools) -> Change:
    """Dispatches a row; one whose task cannot be built fails."""
    offered = dataclasses.replace(row, status=StepStatus.DISPATCHED, worker=None, fraction=None, note=None, wait=None)
    snapshot = change.snapshot.with_row(offered)
    try:
        task = offers.build(snapshot, offered, tools.evaluate)
    except FactoryError as error:
        return _fail(change, row, Failure(ErrorClass.INVALID_INPUT, str(error)), tools)
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
        change.snapshot.with_row(
            dataclasses.replace(row, status=StepStatus.RUNNING, worker=fact.worker, starts=starts)
        )
    )


def _progress(change: Change, row: StepExecution, fact: messages.StageProgress) -> Change:
    told = dataclasses.replace(
        row, status=StepStatus.RUNNING, worker=fact.worker, fraction=fact.fraction, note=fact.note or None
    )
    return change.to(change.snapshot.with_row(told))


def _complete(change: Change, row: StepExecution, fact: messages.StageCompleted, tools: Tools) -> Change:
    done = dataclasses.replace(
        row,
        status=StepStatus.COMPLETED,
        worker=fact.worker,
        output=fact.output,
        files=fact.files,
        summary=fact.summary,
        metrics=fact.metrics,
        fraction=None,
        note=None,
    )
    change = change.to(change.snapshot.with_row(done))
    if row.shard:
        return _join(change, done, tools)
    change = change.plus(*(Delivered(item) for item in endings.deliverables(change.snapshot, row.step)))
    return advance(change, tools)


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed."""

    error_class: ErrorClass
    explanation: str
    details: messages.Details = dataclasses.field(default_factory=dict)
    after: float | None = None
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    worker: str | None = None


def _fail(change: Change, row: StepExecution, failure: Failure, tools: Tools) -> Change:
    """Waits for another attempt, falls back to another stage, or fails the row for good."""
    step = change.snapshot.template.step(row.step)
    retry = step.retry or Retry()
    told = dataclasses.replace(
        row,
        error_class=failure.error_class,
        error=failure.explanation,
        error_details=failure.details,
        metrics=failure.metrics,
        worker=failure.worker or row.worker,
        fraction=None,
        note=None,
    )
    detail = {"error_class": failure.error_class.value, "error": failure.explanation, "worker": failure.worker}
    if failure.error_class in retry.classes and row.retries + 1 < retry.attempts:
        wait = max(backoff.delay(retry, row.retries, tools.random()), failure.after or 0.0)
        waiting = dataclasses.replace(
            told, status=StepStatus.WAITING, attempt=row.attempt + 1, retries=row.retries + 1, wait=wait, worker=None
        )
        recorded = Recorded("retry", row.step, row.shard, row.attempt, detail={**detail, "wait": round(wait, 3)})
        return change.to(change.snapshot.with_row(waiting)).plus(recorded)
    if row.fallback < len(step.fallback):
        stage = step.fallback[row.fallback]
        recorded = Recorded("fallback", row.step, row.shard, row.attempt, detail={**detail, "stage": stage})
        other = dataclasses.replace(told, stage=stage, fallback=row.fallback + 1, retries=0, attempt=row.attempt + 1)
        return _offer(change.plus(recorded), other, tools)
    return _fail_for_good(change, step, dataclasses.replace(told, status=StepStatus.FAILED), tools)


def _fail_for_good(change: Change, step: Step, failed: StepExecution, tools: Tools) -> Change:
    change = change.to(change.snapshot.with_row(failed))
    if failed.shard:
        return _join(change, failed, tools)
    if step.optional:
        return advance(change, tools)
    return endings.end(change.plus(StepDied(failed)), ExecutionStatus.FAILED, f"step '{failed.step}' failed: {failed.error}")


# --- Fan-out and join ------------------------------------------------------------------------------------------------


def _open(change: Change, row: StepExecution, tools: Tools) -> Change:
    """Opens a fan-out: one shard for each record, of which only a window is offered at a time."""
    step = change.snapshot.template.step(row.step)
    shards = sum(ref.records or 0 for ref in offers.shard_sources(change.snapshot, step))
    parent = dataclasses.replace(row, status=StepStatus.RUNNING, shards=shards)
    try:
        # The tasks of all shards differ in a number only, so the first one tells whether they can be built.
        if shards:
            offers.build(change.snapshot.with_row(parent), dataclasses.replace(parent, shard=1), tools.evaluate)
    except FactoryError as error:
        return _fail(change, row, Failure(ErrorClass.INVALID_INPUT, str(error)), tools)
    change = change.to(joins.opened(change.snapshot, parent))
    if shards:
        return joins.release(change.plus(OpenShards(parent)), step)
    return _settle(change, step, tools)


def _join(change: Change, shard: StepExecution, tools: Tools) -> Change:
    """Counts a shard that is over; offers the next ones, or ends the step when it was the last."""
    step = change.snapshot.template.step(shard.step)
    change = change.to(joins.counted(change.snapshot, shard))
    if change.snapshot.step(shard.step).status is not StepStatus.RUNNING:
        return change
    return _settle(joins.release(change, step), step, tools)


def _settle(change: Change, step: Step, tools: Tools) -> Change:
    outcome = joins.outcome(change.snapshot, step)
    if outcome is None:
        return change
    parent = joins.summarised(change.snapshot, step.name)
    if outcome is StepStatus.COMPLETED:
        done = dataclasses.replace(parent, status=StepStatus.COMPLETED)
        return advance(change.to(change.snapshot.with_row(done)), tools)
    failed = dataclasses.replace(
        parent,
        status=StepStatus.FAILED,
        error_class=ErrorClass.PERMANENT,
        error=joins.explanation(change.snapshot, step),
    )
    return _fail_for_good(change.plus(CancelShards(step.name)), step, failed, tools)


