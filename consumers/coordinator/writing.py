"""Writing what the engine decided: changed rows under guard, then everything that follows from them."""

from collections.abc import Iterable, Sequence

from consumers.coordinator import replies
from consumers.coordinator.engine import offers
from consumers.coordinator.engine.effects import (
    CancelShards,
    Delivered,
    Effect,
    Finished,
    HoldTimers,
    Ignored,
    KeepShards,
    Offer,
    OpenShards,
    Prepare,
    Recorded,
    ReleaseShards,
    StepDied,
    StopWork,
    WakeTimers,
)
from consumers.coordinator.engine.snapshot import Snapshot
from consumers.coordinator.engine.tools import Tools
from consumers.coordinator.outcome import Ended, Outcome
from contracts.executions import StepExecution
from contracts.messages import TaskKey
from contracts.states import StepStatus
from infra import database, dead_letters, executions, outbox, timers
from infra.executions import Written

Decided = tuple[Snapshot, Snapshot, list[Effect]]
"""An execution before and after the facts, and what follows."""


async def write(
    connection: database.Connection, decided: Sequence[Decided], tools: Tools, outcome: Outcome
) -> Written | None:
    """Writes everything in one round trip for each kind, and notes in the outcome what is owed after the commit.

    Returns what the database says of the steps that it wrote, None if no step has changed.
    """
    changed = [pair for before, after, _ in decided for pair in changes(before, after)]
    written = await executions.update_steps(connection, changed)
    await timers.set_retries(connection, [(new.key, new.wait) for old, new in changed if _begins_to_wait(old, new)])
    moved = [(b.execution, a.execution) for b, a, _ in decided if b.execution is not a.execution]
    await executions.update_executions(connection, moved)
    if reopened := [new.id for old, new in moved if new.epoch > old.epoch]:
        await dead_letters.settle_reopened(connection, reopened)
    for before, after, effects in decided:
        await _shards(connection, after, effects, tools, outcome)
        outcome.tasks += live_offers(after, effects)
        note(before, after, effects, outcome)
    await _time(connection, decided)
    await _record(connection, decided)
    outcome.owed += await outbox.insert(connection, [o for _, after, effects in decided for o in owed(after, effects)])
    return written


def changes(before: Snapshot, after: Snapshot) -> list[tuple[StepExecution, StepExecution]]:
    """The rows that differ, as they were and as they are to be."""
    if before.rows is after.rows:
        return []
    return [(old, new) for place, new in after.rows.items() if (old := before.rows[place]) is not new]


def _begins_to_wait(old: StepExecution, new: StepExecution) -> bool:
    return new.status is StepStatus.WAITING and (old.status, old.attempt) != (new.status, new.attempt)


def note(before: Snapshot, after: Snapshot, effects: Iterable[Effect], outcome: Outcome) -> None:
    """Notes in the outcome what a change came to, other than tasks and messages."""
    changed = before.rows is not after.rows
    for effect in effects:
        match effect:
            case Prepare(key) if (key.step, 0) in after.rows and after.rows[key.step, 0].status is StepStatus.READY:
                outcome.prepare.append(key)
            case Finished(message):
                outcome.finished.append(Ended(after.execution, message))
            case Ignored(reason):
                outcome.ignored[reason] += 1
            case _:
                pass
        changed = changed or not isinstance(effect, Ignored)
    if changed:
        outcome.changed.append((before, after))


async def _shards(
    connection: database.Connection, after: Snapshot, effects: Iterable[Effect], tools: Tools, outcome: Outcome
) -> None:
    for effect in effects:
        match effect:
            case OpenShards(parent):
                await executions.insert_shards(connection, parent)
            case KeepShards(parent, old_epoch):
                await executions.keep_shards(connection, parent, old_epoch)
            case CancelShards(step, epoch):
                await executions.cancel_shards(connection, [(after.id, step, epoch)])
            case _:
                pass
    for step, number in releases(effects).items():
        if after.step(step).status is StepStatus.RUNNING:
            rows = await executions.release_shards(connection, after.step(step), number)
            outcome.tasks += [offers.offer(after, row, tools.evaluate) for row in rows]


def releases(effects: Iterable[Effect]) -> dict[str, int]:
    """How many shards of each step are to be dispatched in the end.

    What was to be released of a fan-out that was then opened anew counts no more: those shards are not there any more.
    """
    released: dict[str, int] = {}
    for effect in effects:
        match effect:
            case OpenShards(parent) | KeepShards(parent):
                released[parent.step] = 0
            case CancelShards(step):
                released[step] = 0
            case ReleaseShards(step, number):
                released[step] = released.get(step, 0) + number
            case _:
                pass
    return {step: number for step, number in released.items() if number}


async def _time(connection: database.Connection, decided: Sequence[Decided]) -> None:
    """Holds and wakes delays; what both happened to in one batch is as the execution's end state wants it."""
    told = {
        after.id: after for _, after, effects in decided if any(isinstance(e, HoldTimers | WakeTimers) for e in effects)
    }
    if held := [execution_id for execution_id, after in told.items() if not after.running]:
        await timers.hold(connection, held)
    if woken := [execution_id for execution_id, after in told.items() if after.running]:
        await timers.wake(connection, woken)


async def _record(connection: database.Connection, decided: Sequence[Decided]) -> None:
    told = [(after, effect) for _, after, effects in decided for effect in effects]
    recorded = [
        (after.id, e.kind, e.step, e.shard, e.attempt, e.actor, dict(e.detail))
        for after, e in told
        if isinstance(e, Recorded)
    ]
    if recorded:
        await executions.insert_timeline(connection, recorded)
    delivered = [(after.id, after.execution.epoch, e.deliverable) for after, e in told if isinstance(e, Delivered)]
    if delivered:
        await executions.insert_deliverables(connection, delivered)
    for after, effect in told:
        if isinstance(effect, StepDied):
            await dead_letters.add_step(connection, after.execution, effect.row)


def owed(after: Snapshot, effects: Iterable[Effect]) -> list[outbox.Owed]:
    """The messages, other than tasks, that follow from a change."""
    found: list[outbox.Owed] = []
    for effect in effects:
        match effect:
            case Finished(message):
                found += replies.finished(after.execution, message)
            case StopWork(epoch, steps):
                found.append(replies.stop_work(after.execution, epoch, steps))
            case _:
                pass
    return found


def offered(row: StepExecution, key: TaskKey) -> bool:
    """Whether the row is offered in exactly this attempt and nobody is known to have begun."""
    return row.key == key and row.status is StepStatus.DISPATCHED


def live_offers(after: Snapshot, effects: Iterable[Effect]) -> list[Offer]:
    """The offers among the effects that the end of the transaction still wants."""
    offers_made = [effect for effect in effects if isinstance(effect, Offer)]
    return [made for made in offers_made if offered(after.rows[made.task.step, made.task.shard], made.task.key)]
