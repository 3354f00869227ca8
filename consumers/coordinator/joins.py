"""Fan-out and join: shards are counted by status, never read; only a window of them is offered at a time."""

import dataclasses

from consumers.coordinator.effects import Change, ReleaseShards
from consumers.coordinator.snapshot import Snapshot
from contracts.executions import StepExecution
from contracts.model import Scalar
from contracts.states import StepStatus
from contracts.templates import FanOut, Join, Step

_IN_FLIGHT = (StepStatus.DISPATCHED, StepStatus.RUNNING, StepStatus.WAITING, StepStatus.READY)


def opened(snapshot: Snapshot, parent: StepExecution) -> Snapshot:
    """The snapshot with a fan-out whose shards are all pending."""
    shards = {StepStatus.PENDING: parent.shards or 0}
    return dataclasses.replace(snapshot, counts={**snapshot.counts, parent.step: shards}).with_row(parent)


def release(change: Change, step: Step) -> Change:
    """Offers as many pending shards as the window has room for."""
    snapshot = change.snapshot
    window = _fan_out(step).window
    room = window - snapshot.shards(step.name, *_IN_FLIGHT)
    number = min(room, snapshot.shards(step.name, StepStatus.PENDING))
    if number <= 0:
        return change
    moved = snapshot.with_shards_moved(step.name, StepStatus.PENDING, StepStatus.DISPATCHED, number)
    return change.to(moved).plus(ReleaseShards(step.name, number))


def counted(snapshot: Snapshot, shard: StepExecution) -> Snapshot:
    """The snapshot with the numbers of a completed shard's summary added to those of its step."""
    parent = snapshot.step(shard.step)
    if shard.status is not StepStatus.COMPLETED or parent.status is not StepStatus.RUNNING:
        return snapshot
    sums: dict[str, Scalar] = dict(parent.summary)
    for key, value in shard.summary.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            before = sums.get(key, 0)
            sums[key] = value + (before if isinstance(before, int | float) else 0)
    return snapshot.with_row(dataclasses.replace(parent, summary=sums))


def outcome(snapshot: Snapshot, step: Step) -> StepStatus | None:
    """How the join ends: not before every shard is over, unless too many have failed already."""
    shards = snapshot.step(step.name).shards or 0
    needed = _join(step).needed(shards)
    failed = snapshot.shards(step.name, StepStatus.FAILED, StepStatus.CANCELLED)
    completed = snapshot.shards(step.name, StepStatus.COMPLETED)
    if completed + failed >= shards:
        return StepStatus.COMPLETED if completed >= needed else StepStatus.FAILED
    return StepStatus.FAILED if shards - failed < needed else None


def summarised(snapshot: Snapshot, name: str) -> StepExecution:
    """The row of a step with the counts of its shards in its summary."""
    parent = snapshot.step(name)
    counts = {
        "shards": parent.shards or 0,
        "completed": snapshot.shards(name, StepStatus.COMPLETED),
        "failed": snapshot.shards(name, StepStatus.FAILED, StepStatus.CANCELLED),
    }
    return dataclasses.replace(parent, summary={**parent.summary, **counts})


def explanation(snapshot: Snapshot, step: Step) -> str:
    """Why the join failed."""
    shards = snapshot.step(step.name).shards or 0
    failed = snapshot.shards(step.name, StepStatus.FAILED, StepStatus.CANCELLED)
    return f"{failed} of {shards} shards failed; the join needs {_join(step).needed(shards)} to complete"


def _fan_out(step: Step) -> FanOut:
    if step.fan_out is None:
        raise ValueError(f"step '{step.name}' is not fanned out")
    return step.fan_out


def _join(step: Step) -> Join:
    return _fan_out(step).join
