"""Pausing and resuming an execution: what runs may end, and nothing further begins before it has a slot again."""

from consumers.coordinator.engine import facts
from consumers.coordinator.engine.effects import Change, HoldTimers, Ignored, Recorded
from contracts.states import EXECUTION_OVER, ExecutionStatus, PauseReason


def pause(change: Change, fact: facts.Paused) -> Change:
    """Lets the execution wait; a person's decision takes the place of any other reason."""
    execution = change.snapshot.execution
    if execution.status in EXECUTION_OVER:
        return change.plus(Ignored("over"))
    again = execution.status is ExecutionStatus.PAUSED
    if again and (execution.pause_reason is fact.reason or fact.reason is not PauseReason.OPERATOR):
        return change.plus(Ignored("duplicate"))
    recorded = Recorded("paused", actor=fact.actor, detail={"reason": fact.reason.value, "note": fact.note})
    paused = change.snapshot.with_status(ExecutionStatus.PAUSED, reason=fact.reason)
    return change.to(paused).plus(HoldTimers(), recorded)


def resume(change: Change, fact: facts.Resumed) -> Change:
    """Puts the execution in line for a slot; it goes on where it was when it gets one."""
    execution = change.snapshot.execution
    if execution.status is not ExecutionStatus.PAUSED:
        return change.plus(Ignored("over" if execution.status in EXECUTION_OVER else "duplicate"))
    if fact.reason is not None and fact.reason is not execution.pause_reason:
        return change.plus(Ignored("stale"))
    recorded = Recorded("resumed", actor=fact.actor, detail={"note": fact.note})
    return change.to(change.snapshot.with_status(ExecutionStatus.QUEUED)).plus(recorded)
