"""One transaction that takes facts in: lock, read, decide, write under guard. What must be published is returned."""

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar
from uuid import UUID

from consumers.coordinator import writing
from consumers.coordinator.engine import decisions, facts, offers
from consumers.coordinator.engine.effects import Effect, Offer
from consumers.coordinator.engine.snapshot import Place, Snapshot
from consumers.coordinator.engine.tools import Tools
from consumers.coordinator.library import Library
from consumers.coordinator.memory import Memory, Seen
from consumers.coordinator.outcome import Outcome
from contracts import messages
from contracts.errors import ErrorClass
from contracts.executions import Execution, StepExecution
from contracts.messages import TaskKey
from contracts.states import ExecutionStatus, StepStatus
from infra import database, executions, failpoints
from infra.executions import Versions
from infra.failpoints import Failpoint

T = TypeVar("T")

Connection: TypeAlias = database.Connection

CONTENTION_TRIES = 20
"""How often a transaction is run again because another one was in its way; the lock order makes even one rare."""


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """What the coordinator's transactions work with."""

    pool: database.Pool
    library: Library
    tools: Tools
    memory: Memory = dataclasses.field(default_factory=Memory)

    def remember(self, outcome: Outcome) -> None:
        """Keeps in mind what a transaction has seen that is committed by now."""
        for seen in outcome.seen:
            self.memory.keep(seen)
        outcome.seen.clear()

    async def renew(self) -> None:
        """Has every connection made anew: a session keeps what it was told when it began, to only read for one."""
        await self.pool.expire_connections()


async def transact(state: State, work: Callable[[Connection], Awaitable[T]]) -> T:
    """The result of ``work`` in a transaction of its own, which is run again if another one was in its way."""
    for attempt in range(CONTENTION_TRIES):
        try:
            async with state.pool.acquire() as connection, connection.transaction():
                result = await work(connection)
                failpoints.reach(Failpoint.TRANSACTION_COMMITTING)
            failpoints.reach(Failpoint.TRANSACTION_COMMITTED)
            return result
        except (*database.CONTENTION, executions.GuardError):
            if attempt == CONTENTION_TRIES - 1:
                raise
            await asyncio.sleep(state.tools.random() * 0.02 * 2 ** min(attempt, 5))
    raise AssertionError("the last try either returns or raises")


async def advance(state: State, told: Sequence[facts.Fact]) -> Outcome:
    """Applies facts in their order and commits; after it returns nothing of them can be lost.

    Facts about executions that do not exist are ignored.
    """

    async def work(connection: Connection) -> Outcome:
        return await apply(connection, state, told)

    outcome = await transact(state, work)
    state.remember(outcome)
    return outcome


async def apply(connection: database.Connection, state: State, told: Sequence[facts.Fact]) -> Outcome:
    """The same inside a transaction that the caller holds, who remembers the outcome when it is committed."""
    loaded = await load(connection, state, told)
    now = time.monotonic()
    before = loaded.snapshots
    after = dict(before)
    effects: dict[UUID, list[Effect]] = {execution_id: [] for execution_id in before}
    outcome = Outcome()
    for fact in told:
        execution_id = facts.execution_id(fact)
        if execution_id not in after:
            outcome.ignored["unknown"] += 1
            continue
        change = decisions.apply(after[execution_id], fact, state.tools)
        after[execution_id] = change.snapshot
        effects[execution_id] += change.effects
    decided = [(before[i], after[i], effects[i]) for i in sorted(before)]
    written = await writing.write(connection, decided, state.tools, outcome)
    outcome.at = None if written is None else written.at
    for old, new, _ in decided:
        began = now - old.execution.seconds
        outcome.seen.append(Seen(loaded.versions[new.id], old, new, written, began))
    return outcome


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """Executions as they are in the database, locked, with the versions of their steps' rows."""

    snapshots: dict[UUID, Snapshot]
    versions: dict[UUID, Versions]


async def load(connection: database.Connection, state: State, told: Sequence[facts.Fact]) -> Loaded:
    """The executions that the facts are about, locked, with their steps and the shards that are touched."""
    ids = {facts.execution_id(fact) for fact in told}
    locked = await executions.lock_versions(connection, ids)
    found = {execution_id: execution for execution_id, (execution, _) in locked.items()}
    own_rows, steps = await _rows(connection, state, found, told)
    versions = {i: Versions(version, steps.get(i, {})) for i, (_, version) in locked.items()}
    rows = [row for execution_rows in own_rows.values() for row in execution_rows.values()]
    counts = await _counts(connection, rows, {facts.execution_id(fact) for fact in told if opens_shards(fact)})
    own_counts: dict[UUID, dict[str, dict[StepStatus, int]]] = {execution_id: {} for execution_id in found}
    for (execution_id, step), statuses in counts.items():
        own_counts[execution_id][step] = statuses
    snapshots = {}
    for execution_id, execution in found.items():
        template = await state.library.get(connection, execution.template, execution.template_version)
        snapshots[execution_id] = Snapshot(execution, template, own_rows[execution_id], own_counts[execution_id])
    return Loaded(await _with_initial_rows(connection, snapshots, told), versions)


async def _rows(
    connection: database.Connection, state: State, found: Mapping[UUID, Execution], told: Sequence[facts.Fact]
) -> tuple[dict[UUID, dict[Place, StepExecution]], dict[UUID, dict[str, str]]]:
    """The steps of each execution and the shards that are touched, from memory where the database says the same."""
    known, versions = await state.memory.recall(connection, found)
    rows = {execution_id: dict(known.get(execution_id, {})) for execution_id in found}
    unknown = [execution_id for execution_id in versions if execution_id not in known]
    shards = {
        (fact.key.execution_id, fact.key.step, fact.key.shard)
        for fact in told
        if not isinstance(fact, facts.ExecutionFact) and fact.key.shard and fact.key.execution_id in found
    }
    if unknown or shards:
        for row in await executions.load_steps(connection, unknown, shards):
            rows[row.execution_id][row.step, row.shard] = row
    return rows, versions


def opens_shards(fact: facts.Fact) -> bool:
    """Whether the fact may take fan-outs up again of which it names no shard."""
    gone = isinstance(fact, messages.StageFailed) and fact.error_class is ErrorClass.INPUT_GONE
    return gone or isinstance(fact, facts.Started | facts.Reopened)


async def _counts(
    connection: database.Connection, rows: Sequence[StepExecution], whole: set[UUID]
) -> executions.ShardCounts:
    epochs = {(row.execution_id, row.step): row.epoch for row in rows if not row.shard}
    touched = {(*place, epochs[place]) for row in rows if row.shard and (place := (row.execution_id, row.step))}
    touched |= {(r.execution_id, r.step, r.epoch) for r in rows if r.execution_id in whole and r.shards is not None}
    return await executions.count_shards(connection, touched) if touched else {}


async def _with_initial_rows(
    connection: database.Connection, snapshots: dict[UUID, Snapshot], told: Sequence[facts.Fact]
) -> dict[UUID, Snapshot]:
    starting = [
        fact.execution_id for fact in told if isinstance(fact, facts.Started) and fact.execution_id in snapshots
    ]
    fresh: list[StepExecution] = []
    for execution_id in starting:
        snapshot = snapshots[execution_id]
        if not snapshot.rows and snapshot.execution.status is ExecutionStatus.QUEUED:
            rows = decisions.initial_rows(snapshot)
            fresh += rows
            snapshots[execution_id] = snapshot._replace(rows={(r.step, r.shard): r for r in rows})
    if fresh:
        await executions.insert_steps(connection, fresh)
    return snapshots


async def republish(state: State, keys: Sequence[TaskKey]) -> list[Offer]:
    """The offers of rows that are still dispatched in that attempt, derived anew from what is stored."""
    found: list[Offer] = []
    async with state.pool.acquire() as connection, connection.transaction():
        told = [facts.TaskLost(key) for key in keys]
        snapshots = (await load(connection, state, told)).snapshots
        for key in keys:
            snapshot = snapshots.get(key.execution_id)
            row = snapshot.rows.get((key.step, key.shard)) if snapshot else None
            if snapshot is not None and row is not None and writing.offered(row, key):
                found.append(offers.offer(snapshot, row, state.tools.evaluate))
    return found
