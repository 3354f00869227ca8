"""The short way for most events: decided on what is remembered, and written by one statement that is the transaction.

It locks the executions, looks whether each is as remembered, and writes the steps of those that are. Everything else
takes the long way: what is not remembered, what has changed meanwhile, and what does more than write steps.
"""

from collections.abc import Sequence
from uuid import UUID

from consumers.coordinator import writing
from consumers.coordinator.engine import decisions, facts
from consumers.coordinator.engine.effects import Effect, Ignored, Offer, Prepare
from consumers.coordinator.memory import Known
from consumers.coordinator.outcome import Outcome
from consumers.coordinator.transitions import State
from consumers.coordinator.writing import Decided
from contracts.states import STEP_OVER, StepStatus
from infra import executions, failpoints
from infra.executions import Remembered
from infra.failpoints import Failpoint


async def settle(state: State, told: Sequence[facts.TaskEvent]) -> tuple[Outcome, set[UUID]]:
    """Applies the events of as many executions as it can, and commits; says which executions it has settled.

    Of one execution it settles all events or none. Raises what the database raises, and then has settled nothing.
    """
    decided = _decided(state, told)
    if not decided:
        return Outcome(), set()
    items = [
        Remembered(before.id, known.versions, writing.changes(before, after)) for known, (before, after, _) in decided
    ]
    failpoints.reach(Failpoint.SHORTCUT_COMMITTING)
    async with state.pool.acquire() as connection:
        written = await executions.settle_steps(connection, items)
    failpoints.reach(Failpoint.SHORTCUT_COMMITTED)
    outcome = Outcome()
    for known, (before, after, effects) in decided:
        if before.id not in written:
            state.memory.forget(before.id)
            continue
        state.memory.keep(known.versions, before, after, written[before.id])
        outcome.tasks += writing.live_offers(after, effects)
        writing.note(before, after, effects, outcome)
    return outcome, set(written)


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
    """Whether it is worth deciding: the last event of an execution writes more than steps, and fan-outs need counts."""
    if known.snapshot.execution.budget_left is not None or any(event.shard for event in events):
        return False
    rows = known.snapshot.rows.values()
    return all(row.shards is None for row in rows) and sum(row.status not in STEP_OVER for row in rows) > len(events)


def _decide(state: State, known: Known, events: Sequence[facts.TaskEvent]) -> Decided:
    snapshot = known.snapshot
    effects: list[Effect] = []
    for event in events:
        change = decisions.apply(snapshot, event, state.tools)
        snapshot = change.snapshot
        effects += change.effects
    return known.snapshot, snapshot, effects


def _is_short(decided: Decided) -> bool:
    before, after, effects = decided
    return (
        after.execution is before.execution
        and all(isinstance(effect, Offer | Prepare | Ignored) for effect in effects)
        and all(
            row.status is not StepStatus.WAITING and row.shards is None for _, row in writing.changes(before, after)
        )
    )
