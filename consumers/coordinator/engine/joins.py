"""Fan-out and join: shards are counted by status, never read; only a window of them is offered at a time."""

from consumers.coordinator.engine import failures, offers
from consumers.coordinator.engine.effects import CancelShards, Change, OpenShards, ReleaseShards, StopWork
from consumers.coordinator.engine.failures import Failure
from consumers.coordinator.engine.snapshot import Snapshot
from contracts.errors import ErrorClass, FactoryError
from contracts.executions import StepExecution
from contracts.model import Scalar
from contracts.states import STEP_OFFERED, StepStatus
from contracts.templates import FanOut, Join, Step

MOST_SHARDS = 100_000
"""Shards are rows that one transaction inserts and every join counts."""

_IN_FLIGHT = (StepStatus.DISPATCHED, StepStatus.RUNNING, StepStatus.WAITING, StepStatus.READY)


def begin(change: Change, row: StepExecution, evaluate: offers.Evaluate) -> Change:
    """Opens a fan-out: one shard for each record. It fails if the tasks of its shards cannot be built."""
    step = change.snapshot.template.step(row.step)
    shards = sum(ref.records or 0 for ref in offers.shard_sources(change.snapshot, step))
    parent = row._replace(status=StepStatus.RUNNING, shards=shards)
    try:
        _check(change.snapshot.with_row(parent), step, parent, evaluate)
    except FactoryError as error:
        return failures.fail_step(change, row, Failure(ErrorClass.INVALID_INPUT, str(error)))
    change = change.to(_opened(change.snapshot, parent))
    if shards:
        change = change.plus(OpenShards(parent))
    return _settled(_released(change, step), step)


def go_on(change: Change, step: Step) -> Change:
    """Takes an open fan-out up again after its execution has waited, or after shards of it were kept."""
    return _settled(_released(change, step), step)


def count(change: Change, shard: StepExecution) -> Change:
    """Counts a shard that is over; offers the next ones, or ends the step when nothing more can change its outcome."""
    step = change.snapshot.template.step(shard.step)
    if change.snapshot.step(shard.step).status is not StepStatus.RUNNING:
        return change
    return _settled(_released(change.to(_summed(change.snapshot, shard)), step), step)


def _check(snapshot: Snapshot, step: Step, parent: StepExecution, evaluate: offers.Evaluate) -> None:
    """Raises FactoryError unless every shard's task can be built.

    Tasks over the same document differ in numbers only, so that the last record of each has the longest of them.
    """
    if (parent.shards or 0) > MOST_SHARDS:
        raise FactoryError(
            f"step '{step.name}' has {parent.shards} records; the limit of a fan-out is {MOST_SHARDS}, so split them"
        )
    for shard in offers.last_shards(snapshot, step):
        offers.offer(snapshot, parent._replace(shard=shard), evaluate)


def _opened(snapshot: Snapshot, parent: StepExecution) -> Snapshot:
    shards = {StepStatus.PENDING: parent.shards or 0}
    return snapshot._replace(counts={**snapshot.counts, parent.step: shards}).with_row(parent)


def _released(change: Change, step: Step) -> Change:
    """Offers as many pending shards as the window has room for."""
    snapshot = change.snapshot
    if not snapshot.running:
        return change
    room = _fan_out(step).window - snapshot.shards(step.name, *_IN_FLIGHT)
    number = min(room, snapshot.shards(step.name, StepStatus.PENDING))
    if number <= 0:
        return change
    moved = snapshot.with_shards_moved(step.name, StepStatus.PENDING, StepStatus.DISPATCHED, number)
    return change.to(moved).plus(ReleaseShards(step.name, number))


def _summed(snapshot: Snapshot, shard: StepExecution) -> Snapshot:
    """The snapshot with the numbers of a completed shard's summary added to those of its step."""
    if shard.status is not StepStatus.COMPLETED:
        return snapshot
    parent = snapshot.step(shard.step)
    sums: dict[str, Scalar] = dict(parent.summary)
    for key, value in shard.summary.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            before = sums.get(key, 0)
            sums[key] = value + (before if isinstance(before, int | float) else 0)
    return snapshot.with_row(parent._replace(summary=sums))


def _settled(change: Change, step: Step) -> Change:
    outcome = _outcome(change.snapshot, step)
    if outcome is None:
        return change
    parent = _summarised(change.snapshot, step.name)
    if outcome is StepStatus.COMPLETED:
        return change.to(change.snapshot.with_row(parent._replace(status=outcome)))
    failure = Failure(ErrorClass.PERMANENT, _explanation(change.snapshot, step))
    return failures.fail_step(abandon(change, parent), parent, failure)


def abandon(change: Change, parent: StepExecution) -> Change:
    """Cancels the shards of a step that are not over, and stops those that workers have."""
    in_flight = change.snapshot.shards(parent.step, *STEP_OFFERED)
    change = change.to(change.snapshot.with_shards_cancelled(parent.step)).plus(CancelShards(parent.step, parent.epoch))
    return change.plus(StopWork(parent.epoch, (parent.step,))) if in_flight else change


def _outcome(snapshot: Snapshot, step: Step) -> StepStatus | None:
    """How the join ends: not before every shard is over, unless too many have failed already."""
    shards = snapshot.step(step.name).shards or 0
    needed = _join(step).needed(shards)
    failed = snapshot.shards(step.name, StepStatus.FAILED, StepStatus.CANCELLED)
    completed = snapshot.shards(step.name, StepStatus.COMPLETED)
    if completed + failed >= shards:
        return StepStatus.COMPLETED if completed >= needed else StepStatus.FAILED
    return StepStatus.FAILED if shards - failed < needed else None


COUNTED = ("shards", "completed", "failed")
"""What the summary of a joined step says besides the sums of its shards."""


def _summarised(snapshot: Snapshot, name: str) -> StepExecution:
    """The row of a step with the counts of its shards in its summary."""
    parent = snapshot.step(name)
    counts = (
        parent.shards or 0,
        snapshot.shards(name, StepStatus.COMPLETED),
        snapshot.shards(name, StepStatus.FAILED, StepStatus.CANCELLED),
    )
    return parent._replace(summary={**parent.summary, **dict(zip(COUNTED, counts, strict=True))})


def _explanation(snapshot: Snapshot, step: Step) -> str:
    shards = snapshot.step(step.name).shards or 0
    failed = snapshot.shards(step.name, StepStatus.FAILED, StepStatus.CANCELLED)
    return f"{failed} of {shards} shards failed; the join needs {_join(step).needed(shards)} to complete"


def _fan_out(step: Step) -> FanOut:
    if step.fan_out is None:
        raise ValueError(f"step '{step.name}' is not fanned out")
    return step.fan_out


def _join(step: Step) -> Join:
    return _fan_out(step).join
