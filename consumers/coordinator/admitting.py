"""Admission: queued executions get the free slots in fair order, one coordinator at a time."""

from collections.abc import Sequence
from uuid import UUID

from consumers.coordinator import fairness, replies, transitions
from consumers.coordinator.engine import facts
from consumers.coordinator.outcome import Ended, Outcome
from consumers.coordinator.transitions import State
from contracts.admission import Head
from contracts.errors import FactoryError
from contracts.executions import Execution
from contracts.messages import ExecutionFinished
from contracts.states import ExecutionStatus
from contracts.tiers import CLIENT_SHARE, Tier
from infra import admission, database, executions, failpoints, outbox
from infra.failpoints import Failpoint

ROUND = 100
"""Executions admitted in one transaction at most, so that it stays short."""


def caps(slots: int) -> dict[Tier, int]:
    """How many slots one client of each tier may hold, at least one."""
    return {tier: max(1, int(slots * share)) for tier, share in CLIENT_SHARE.items()}


async def admit(state: State, slots: int) -> tuple[Outcome, bool]:
    """Starts as many queued executions as there are free slots, up to a round; says whether there may be more to admit.

    Slots are counted from the rows that hold them, under the lock, so any number of coordinators grant exactly what is
    free.
    """
    async with state.pool.acquire() as connection, connection.transaction():
        await admission.lock(connection)
        granted = await _grant(connection, state, slots)
        failpoints.reach(Failpoint.ADMISSION_COMMITTING)
    failpoints.reach(Failpoint.ADMISSION_COMMITTED)
    return granted


async def _grant(connection: database.Connection, state: State, slots: int) -> tuple[Outcome, bool]:
    running = await admission.running(connection)
    free = min(slots - sum(running.values()), ROUND)
    if free <= 0:
        return Outcome(), False
    heads = await _heads(connection, free)
    if not heads:
        return Outcome(), False
    chosen = await _choose(connection, heads, running, caps(slots), free)
    admitted = set(chosen.admitted)
    outcome, unusable = await _fail_unusable(connection, state, [h for h in heads if h.execution_id in admitted])
    started = [facts.Started(execution_id) for execution_id in chosen.admitted if execution_id not in unusable]
    outcome.add(await transitions.apply(connection, state, started))
    await admission.save_shares(connection, chosen.shares)
    return outcome, chosen.dry or len(chosen.admitted) == ROUND


async def _heads(connection: database.Connection, free: int) -> list[Head]:
    heads = await admission.heads(connection, 1)
    # With one client waiting its own line is all that matters; with many, a few heads of each are enough.
    depth = _depth(heads, free)
    return heads if depth == 1 else await admission.heads(connection, depth)


def _depth(heads: Sequence[Head], free: int) -> int:
    clients = len({(head.tier, head.client) for head in heads})
    return max(1, -(-2 * free // clients)) if clients else 1


async def _choose(
    connection: database.Connection,
    heads: Sequence[Head],
    running: dict[str, int],
    limits: dict[Tier, int],
    free: int,
) -> fairness.Grants:
    shares = await admission.shares(connection, fairness.flows(heads))
    return fairness.admit(heads, shares, running, limits, free, _depth(heads, free))


async def _fail_unusable(
    connection: database.Connection, state: State, chosen: Sequence[Head]
) -> tuple[Outcome, set[UUID]]:
    """Fails those whose template was damaged after they were taken, so that they do not hold up the line for ever."""
    faults: dict[UUID, FactoryError] = {}
    for head in chosen:
        try:
            await state.library.get(connection, head.template, head.template_version)
        except FactoryError as error:
            faults[head.execution_id] = error
    outcome = Outcome()
    if faults:
        for execution in (await executions.lock(connection, faults)).values():
            outcome.add(await _fail(connection, execution, faults[execution.id]))
    return outcome, set(faults)


async def _fail(connection: database.Connection, execution: Execution, error: FactoryError) -> Outcome:
    failed = execution._replace(
        status=ExecutionStatus.FAILED, explanation=f"its template cannot be used: {error}"[:2000]
    )
    await executions.update_executions(connection, [(execution, failed)])
    told = ExecutionFinished(
        execution_id=execution.id,
        submit_key=execution.submit_key,
        client=execution.client,
        status=failed.status,
        explanation=failed.explanation,
        seconds=execution.seconds,
    )
    owed = await outbox.insert(connection, replies.finished(failed, told))
    return Outcome(owed=owed, finished=[Ended(failed, told)])
