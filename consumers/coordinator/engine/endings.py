"""How an execution ends, and what it hands over."""

from consumers.coordinator.engine.effects import CancelShards, Change, Finished, StopWork
from consumers.coordinator.engine.snapshot import Snapshot
from contracts import encoding, messages
from contracts.errors import FactoryError
from contracts.states import STEP_OFFERED, STEP_OVER, ExecutionStatus, StepStatus


def end(change: Change, status: ExecutionStatus, explanation: str) -> Change:
    """Ends the execution: what is not over is cancelled, and whoever waits for the end is told."""
    snapshot = change.snapshot
    offered = False
    for row in list(snapshot.rows.values()):
        if row.status in STEP_OVER:
            continue
        offered = offered or row.status in STEP_OFFERED
        if row.shard == 0 and row.shards is not None:
            change = change.plus(CancelShards(row.step, row.epoch))
            snapshot = snapshot.with_shards_cancelled(row.step)
            offered = True
        snapshot = snapshot.with_row(snapshot.rows[row.step, row.shard]._replace(status=StepStatus.CANCELLED))
    snapshot = snapshot.with_status(status, explanation)
    change = change.to(snapshot).plus(Finished(_finished(snapshot)))
    return change.plus(StopWork(snapshot.execution.epoch)) if offered else change


def end_early(change: Change, explanation: str) -> Change:
    """Ends the execution with what it has: partially where something was delivered, failed where nothing was."""
    delivered = any(deliverables(change.snapshot, step.name) for step in change.snapshot.template.steps)
    return end(change, ExecutionStatus.PARTIAL if delivered else ExecutionStatus.FAILED, explanation)


def _finished(snapshot: Snapshot) -> messages.ExecutionFinished:
    execution = snapshot.execution
    message = messages.ExecutionFinished(
        execution_id=execution.id,
        submit_key=execution.submit_key,
        client=execution.client,
        status=execution.status,
        deliverables=tuple(d for step in snapshot.template.steps for d in deliverables(snapshot, step.name)),
        explanation=execution.explanation[:2000],
        seconds=execution.seconds,
    )
    try:
        encoding.encode(message)
    except FactoryError:
        # Inline documents can add up to more than a message may hold; the deliverables stand in the database too.
        return message.model_copy(update={"deliverables": ()})
    return message


def deliverables(snapshot: Snapshot, name: str) -> list[messages.Deliverable]:
    """What a step hands to the client: its files by format, and its output under ``json``."""
    row = snapshot.rows.get((name, 0))
    if row is None or row.status is not StepStatus.COMPLETED or row.output is None:
        return []
    made = {"json": row.output, **row.files}
    formats = snapshot.template.step(name).deliver
    return [messages.Deliverable(step=name, format=f, ref=made[f]) for f in formats if f in made]
