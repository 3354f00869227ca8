"""Every transition of an execution, as pure functions of its rows and of one fact."""

from consumers.coordinator.engine import attempts, endings, facts, failures, guards, joins, offers, pauses, reopening
from consumers.coordinator.engine.effects import Change, Ignored, Prepare, Recorded, StopWork, WakeTimers
from consumers.coordinator.engine.failures import Failure
from consumers.coordinator.engine.snapshot import Snapshot
from consumers.coordinator.engine.tools import Tools
from contracts import messages
from contracts.errors import ErrorClass, FactoryError
from contracts.executions import StepExecution
from contracts.states import EXECUTION_OVER, STEP_OVER, ExecutionStatus, StepStatus
from contracts.templates import Step


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
        case facts.Paused():
            return pauses.pause(change, fact)
        case facts.Resumed():
            return pauses.resume(change, fact)
        case facts.Reopened():
            reopened = reopening.reopen(change, fact)
            return reopened if reopened.snapshot is snapshot else _go_on(reopened, tools)
        case facts.TimeUp():
            return _time_up(change)
        case _:
            key = fact.key
            row = snapshot.rows.get((key.step, key.shard))
            refused = guards.refusal(snapshot, row, fact)
            if row is not None and guards.is_late_start(fact, snapshot, row):
                return attempts.note_late_start(change, row, fact.worker)
            if row is None or refused:
                return change.plus(Ignored(refused or "unknown"))
            return _apply_to(change, row, fact, tools)


def _apply_to(change: Change, row: StepExecution, fact: facts.TaskFact, tools: Tools) -> Change:
    match fact:
        case messages.StageAccepted():
            return attempts.accept(change, row, fact)
        case messages.StageProgress():
            return attempts.progress(change, row, fact)
        case messages.StageCompleted():
            change = attempts.complete(change, row, fact)
        case messages.StageFailed():
            change = attempts.fail(change, row, failures.reported(fact), tools)
        case facts.Prepared():
            change = _dispatch(change, row._replace(inputs=fact.inputs, manifest=fact.manifest), tools)
        case facts.RetryDue():
            change = attempts.offer(change, row, tools)
        case facts.LeaseLapsed():
            change = attempts.again(change, row, "lease_lapsed", {"worker": fact.worker}, tools)
        case facts.TaskLost():
            change = attempts.again(change, row, "task_lost", {}, tools)
        case facts.TaskDied():
            change = attempts.again(change, row, "task_died", {}, tools)
        case facts.DeadlinePassed():
            text = "the worker held the task past its time-out"
            change = attempts.fail(change, row, Failure(ErrorClass.TIMEOUT, text), tools)
        case facts.CrashLooped():
            text = f"{fact.starts} starts of this task each ended with the death of its worker"
            change = _disarmed(attempts.fail(change, row, Failure(ErrorClass.CRASH_LOOP, text), tools), row)
    return advance(change, tools)


def _disarmed(change: Change, row: StepExecution) -> Change:
    """Copies of earlier attempts may still lie in the queue, and each would end its worker again."""
    if change.snapshot.step(row.step).status is StepStatus.FAILED:
        return change.plus(StopWork(row.epoch, (row.step,)))
    return change


# --- The life of an execution ----------------------------------------------------------------------------------------


def _start(change: Change, tools: Tools) -> Change:
    if change.snapshot.execution.status is not ExecutionStatus.QUEUED:
        return change.plus(Ignored("duplicate"))
    change = change.to(change.snapshot.with_status(ExecutionStatus.RUNNING))
    if any(row.status is not StepStatus.PENDING for row in change.snapshot.rows.values()):
        change = change.plus(WakeTimers())
    return _go_on(change, tools)


def _go_on(change: Change, tools: Tools) -> Change:
    """Takes everything up again that an execution which has waited, or was reopened, has left open."""
    for step in change.snapshot.template.steps:
        row = change.snapshot.rows.get((step.name, 0))
        if not change.snapshot.running or row is None:
            break
        if row.status is StepStatus.READY:
            change = change.plus(Prepare(row.key))
        elif row.status is StepStatus.RUNNING and row.shards is not None:
            change = joins.go_on(change, step)
    return advance(change, tools)


def _cancel(change: Change, fact: facts.Cancelled) -> Change:
    if change.snapshot.execution.status in EXECUTION_OVER:
        return change.plus(Ignored("over"))
    recorded = Recorded("cancelled", actor=fact.actor, detail={"note": fact.note})
    return endings.end(change.plus(recorded), ExecutionStatus.CANCELLED, fact.note or f"cancelled by {fact.actor}")


def _time_up(change: Change) -> Change:
    if change.snapshot.execution.status in EXECUTION_OVER:
        return change.plus(Ignored("over"))
    return endings.end_early(change.plus(Recorded("deadline")), "its deadline has passed")


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
                # Only what is over as soon as it begins lets others begin, those before it in the template as well.
                moved = moved or change.snapshot.step(step.name).status in STEP_OVER
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
    if snapshot.execution.status is not ExecutionStatus.RUNNING:
        return change
    failed = []
    for step in snapshot.template.steps:
        status = snapshot.step(step.name).status
        if status not in STEP_OVER:
            return change
        if status is StepStatus.FAILED:
            failed.append(step.name)
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
        return attempts.fail_for_good(change, row, Failure(ErrorClass.INVALID_INPUT, str(error)))
    if not wanted:
        return change.to(change.snapshot.with_row(row._replace(status=StepStatus.SKIPPED)))
    if prepare:
        ready = row._replace(status=StepStatus.READY)
        return change.to(change.snapshot.with_row(ready)).plus(Prepare(ready.key))
    return _dispatch(change, row, tools)


def _dispatch(change: Change, row: StepExecution, tools: Tools) -> Change:
    if change.snapshot.template.step(row.step).fan_out:
        return joins.begin(change, row, tools.evaluate)
    return attempts.offer(change, row, tools)
