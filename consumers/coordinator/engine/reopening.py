"""Doing a part of an execution again: under a new epoch, so that work of before cannot finish what was reopened."""

from collections.abc import Iterable

from consumers.coordinator.engine import facts, joins
from consumers.coordinator.engine.effects import CancelShards, Change, Ignored, KeepShards, Recorded, StopWork
from consumers.coordinator.engine.failures import Failure
from consumers.coordinator.engine.snapshot import Snapshot
from contracts.executions import StepExecution
from contracts.states import EXECUTION_OVER, STEP_OFFERED, ExecutionStatus, StepStatus
from contracts.templates import Step, Template

MOST_REMAKES = 2
"""How often a step is done again by itself because its output has vanished."""

UNSUCCESSFUL = frozenset({StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.WAITING})


def reopen(change: Change, fact: facts.Reopened) -> Change:
    """Reopens steps and all that depends on them, or everything, and with them what else has kept the execution from
    its end: steps that failed for good or were cancelled.

    Raises the epoch. An execution that is over gets in line for a slot again.
    """
    snapshot = change.snapshot
    wanted = tuple(step.name for step in snapshot.template.steps) if fact.steps is None else fact.steps
    refused = _refusal(snapshot, fact, wanted)
    if refused:
        return change.plus(Ignored(refused))
    undone = {step.name for step in snapshot.template.steps if _is_undone(snapshot.step(step.name), step)}
    names = downstream(snapshot.template, {*wanted, *undone})
    kept = {name for name in names if (fact.keep if name in wanted else name in undone)}
    detail = {"kind": fact.kind, "epoch": snapshot.execution.epoch + 1, "note": fact.note}
    recorded = Recorded("reopened", wanted[0] if len(wanted) == 1 else None, actor=fact.actor, detail=detail)
    return _reopened(change, names, kept).plus(recorded)


def remake(change: Change, row: StepExecution, failure: Failure) -> Change | None:
    """Does the step again whose stored output has vanished, and with it whatever needed it and is not done.

    None if nobody in this execution made the document, or if it vanished too often: then the failure stands.
    """
    snapshot = change.snapshot
    name = _producer(snapshot, failure.details.get("uri", ""))
    after = downstream(snapshot.template, [] if name is None else [name])
    if name is None or row.step not in after or snapshot.step(name).remade >= MOST_REMAKES:
        return None
    undone = {n for n in after if snapshot.step(n).status not in (StepStatus.COMPLETED, StepStatus.SKIPPED)}
    producer = snapshot.step(name)
    change = change.to(snapshot.with_row(producer._replace(remade=producer.remade + 1)))
    epoch = snapshot.execution.epoch + 1
    detail = {"uri": failure.details["uri"], "made_by": name, "epoch": epoch, "stage": row.stage}
    recorded = Recorded("input_gone", row.step, row.shard, row.attempt, detail=detail)
    return _reopened(change, {name, *undone}, set()).plus(recorded)


def downstream(template: Template, names: Iterable[str]) -> set[str]:
    """These steps and all that depend on them."""
    found = set(names)
    moved = True
    while moved:
        more = {step.name for step in template.steps if found & set(step.depends_on)} - found
        found |= more
        moved = bool(more)
    return found


def _refusal(snapshot: Snapshot, fact: facts.Reopened, wanted: tuple[str, ...]) -> str | None:
    if not snapshot.rows:
        return "not_started"
    if any((name, 0) not in snapshot.rows for name in wanted):
        return "unknown"
    if fact.only_if is not None and snapshot.step(fact.only_if.step).key != fact.only_if:
        return "duplicate"
    if fact.kind in ("retry", "requeue") and any(snapshot.step(n).status not in UNSUCCESSFUL for n in wanted):
        return "not_failed"
    return None


def _is_undone(row: StepExecution, step: Step) -> bool:
    return row.status is StepStatus.CANCELLED or (row.status is StepStatus.FAILED and not step.optional)


def _producer(snapshot: Snapshot, uri: str) -> str | None:
    """The step that wrote an object of this execution, as its key tells: it ends in execution, step and file name."""
    parts = uri.rsplit("/", 3)
    mine = len(parts) == 4 and parts[1] == str(snapshot.id)
    return parts[2] if mine and (parts[2], 0) in snapshot.rows else None


def _reopened(change: Change, names: set[str], kept: set[str]) -> Change:
    old = change.snapshot.execution
    status = ExecutionStatus.QUEUED if old.status in EXECUTION_OVER else old.status
    execution = old._replace(epoch=old.epoch + 1, status=status, explanation="")
    interrupted = any(_begun(change.snapshot.step(name)) for name in names)
    change = change.to(change.snapshot._replace(execution=execution))
    for step in change.snapshot.template.steps:
        row = change.snapshot.step(step.name)
        if step.name not in names:
            continue
        if row.status is StepStatus.PENDING:
            # Whatever is told to stop up to the old epoch must not mean what is yet to begin.
            change = change.to(change.snapshot.with_row(row._replace(epoch=execution.epoch)))
            continue
        keeps = step.name in kept and row.shards is not None and not names & set(step.depends_on)
        change = _keep(change, row) if keeps else _again(change, row, step.stage)
    return change.plus(StopWork(old.epoch, tuple(sorted(names)))) if interrupted else change


def _begun(row: StepExecution) -> bool:
    return row.status in STEP_OFFERED


def _again(change: Change, row: StepExecution, stage: str) -> Change:
    """The step as if it had never begun, but for the number of its attempt."""
    if row.shards is not None:
        change = change.to(change.snapshot.with_shards_cancelled(row.step)).plus(CancelShards(row.step, row.epoch))
    fresh = StepExecution(
        execution_id=row.execution_id,
        step=row.step,
        shard=0,
        epoch=change.snapshot.execution.epoch,
        attempt=row.attempt + 1,
        status=StepStatus.PENDING,
        stage=stage,
        remade=row.remade,
    )
    return change.to(change.snapshot.with_row(fresh))


def _keep(change: Change, row: StepExecution) -> Change:
    """The fan-out open again, with the shards that completed."""
    completed = change.snapshot.shards(row.step, StepStatus.COMPLETED)
    change = change.to(change.snapshot.with_shards_cancelled(row.step))
    counts = {StepStatus.COMPLETED: completed, StepStatus.PENDING: (row.shards or 0) - completed}
    parent = row._replace(
        epoch=change.snapshot.execution.epoch,
        attempt=row.attempt + 1,
        status=StepStatus.RUNNING,
        summary={key: value for key, value in row.summary.items() if key not in joins.COUNTED},
        error_class=None,
        error=None,
        error_details={},
        degraded=False,
    )
    snapshot = change.snapshot.with_row(parent).with_counts(row.step, counts)
    return change.to(snapshot).plus(KeepShards(parent, row.epoch))
