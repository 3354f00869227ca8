"""The short way for most events: decided on what is remembered, and written by one statement that is the transaction.

It locks the executions, looks whether each is as remembered, and writes what was decided about those that are: steps,
deliverables, their end and the messages that tell of it. Everything else takes the long way: what is not remembered,
what has changed meanwhile or is being changed, and what needs more, such as retries and fan-outs.
"""

from collections.abc import Sequence
from uuid import UUID

from consumers.coordinator import writing
from consumers.coordinator.engine import decisions, facts
from consumers.coordinator.engine.effects import Delivered, Effect, Finished, Ignored, Offer, Prepare
from consumers.coordinator.engine.snapshot import Snapshot
from consumers.coordinator.memory import Known, Seen
from consumers.coordinator.outcome import Outcome
from consumers.coordinator.transitions import State
from consumers.coordinator.writing import Decided
from contracts.states import ExecutionStatus, StepStatus
from infra import executions, failpoints
from infra.executions import Remembered
from infra.failpoints import Failpoint

SHORT = (Offer, Prepare, Delivered, Finished, Ignored)
"""The effects that the statement writes, or that are no matter of the database."""


async def settle(state: State, told: Sequence[facts.TaskEvent]) -> tuple[Outcome, set[UUID]]:
    """Applies the events of as many executions as it can, and commits; says which executions it has settled.

    Of one execution it settles all events or none. Raises what the database raises, and then has settled nothing.
    """
    decided = _decided(state, told)
    if not decided:
        return Outcome(), set()
    items = [_remembered(known, *change) for known, change in decided]
    failpoints.reach(Failpoint.SHORTCUT_COMMITTING)
    async with state.pool.acquire() as connection:
        settled = await executions.settle(connection, items)
    failpoints.reach(Failpoint.SHORTCUT_COMMITTED)
    outcome = Outcome()
    for known, (before, after, effects) in decided:
        if before.id not in settled:
            state.memory.forget(before.id)
            continue
        written, owed = settled[before.id]
        state.memory.keep(Seen(known.versions, before, after, written, known.began))
        outcome.owed += owed
        outcome.at = written.at
        outcome.tasks += writing.live_offers(after, effects)
        writing.note(before, after, effects, outcome)
    return outcome, set(settled)


def _remembered(known: Known, before: Snapshot, after: Snapshot, effects: Sequence[Effect]) -> Remembered:
    return Remembered(
        before.id,
        after.execution.epoch,
        known.versions,
        writing.changes(before, after),
        None if after.execution is before.execution else (before.execution, after.execution),
        [effect.deliverable for effect in effects if isinstance(effect, Delivered)],
        writing.owed(after, effects),
    )


def _decided(state: State, told: Sequence[facts.TaskEvent]) -> list[tuple[Known, Decided]]:
    events: dict[UUID, list[facts.TaskEvent]] = {}
    for event in told:
        events.setdefault(event.execution_id, []).append(event)
    found = []
    for execution_id, own in events.items():
        known = state.memory.known(execution_id)
        if known is not None and _may_be_short(known, own):
            decided = _decide(state, known, own)
            if _is_short(decided):
                found.append((known, decided))
    return found


def _may_be_short(known: Known, events: Sequence[facts.TaskEvent]) -> bool:
    """Whether it is worth deciding: money is not remembered, and fan-outs need counts."""
    if known.snapshot.execution.budget_left is not None or any(event.shard for event in events):
        return False
    return all(row.shards is None for row in known.snapshot.rows.values())


def _decide(state: State, known: Known, events: Sequence[facts.TaskEvent]) -> Decided:
    before = snapshot = known.now()
    effects: list[Effect] = []
    for event in events:
        change = decisions.apply(snapshot, event, state.tools)
        snapshot = change.snapshot
        effects += change.effects
    return before, snapshot, effects


def _is_short(decided: Decided) -> bool:
    before, after, effects = decided
    return (
        after.execution.status is not ExecutionStatus.PAUSED
        and after.execution.epoch == before.execution.epoch
        and all(isinstance(effect, SHORT) for effect in effects)
        and all(
            row.status is not StepStatus.WAITING and row.shards is None for _, row in writing.changes(before, after)
        )
    )
