"""Executions and their steps in Postgres: read under lock, written under guard."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from contracts import messages, states
from contracts.errors import ErrorClass
from contracts.executions import Execution, StepExecution
from contracts.refs import DataRef
from contracts.states import ExecutionStatus, PauseReason, StepStatus
from contracts.tiers import OptimiseFor, Quality, Tier
from infra import database, statements

SQL = statements.load("executions")

ShardCounts = dict[tuple[UUID, str], dict[StepStatus, int]]


class GuardError(Exception):
    """A guarded write met another state than the one it was decided on; the transaction must be run again."""


async def lock(connection: database.Connection, ids: Iterable[UUID]) -> dict[UUID, Execution]:
    """The executions of these ids that exist, locked in the order of their ids until the transaction ends."""
    rows = await connection.fetch(SQL["lock_executions"], sorted(ids))
    return {row["id"]: _execution(row) for row in rows}


async def load_steps(
    connection: database.Connection, ids: Iterable[UUID], shards: Iterable[tuple[UUID, str, int]]
) -> list[StepExecution]:
    """All steps of the executions, and those of their shards that are named."""
    named = sorted(shards)
    rows = await connection.fetch(
        SQL["load_steps"], list(ids), [n[0] for n in named], [n[1] for n in named], [n[2] for n in named]
    )
    return [_step(row) for row in rows]


async def count_shards(connection: database.Connection, steps: Iterable[tuple[UUID, str, int]]) -> ShardCounts:
    """Shards by status of steps that were fanned out, each given as execution, step and epoch."""
    named = list(steps)
    rows = await connection.fetch(
        SQL["count_shards"], [n[0] for n in named], [n[1] for n in named], [n[2] for n in named]
    )
    counts: ShardCounts = {(execution_id, step): {} for execution_id, step, _ in named}
    for row in rows:
        counts[row["execution_id"], row["step"]][StepStatus(row["status"])] = row["shards"]
    return counts


async def insert_steps(connection: database.Connection, steps: Sequence[StepExecution]) -> None:
    """Stores the steps of executions that start; one that is stored already is left alone."""
    await connection.execute(
        SQL["insert_steps"],
        [s.execution_id for s in steps],
        [s.step for s in steps],
        [s.shard for s in steps],
        [s.epoch for s in steps],
        [s.attempt for s in steps],
        [s.status.value for s in steps],
        [s.stage for s in steps],
    )


async def insert_shards(connection: database.Connection, parent: StepExecution) -> None:
    """Stores the shards of a step as pending, as many as its row says."""
    await connection.execute(
        SQL["insert_shards"], parent.execution_id, parent.step, parent.epoch, 1, parent.stage, parent.shards
    )


async def keep_shards(connection: database.Connection, parent: StepExecution, old_epoch: int) -> None:
    """Takes the shards of a step over from an older epoch, the completed ones as they are and the others as pending."""
    place = (parent.execution_id, parent.step)
    await connection.execute(SQL["keep_shards"], *place, old_epoch, parent.epoch, parent.stage)


async def release_shards(connection: database.Connection, parent: StepExecution, limit: int) -> list[StepExecution]:
    """Dispatches up to so many pending shards of a step and returns them."""
    rows = await connection.fetch(SQL["release_shards"], parent.execution_id, parent.step, parent.epoch, limit)
    return [
        StepExecution(
            execution_id=parent.execution_id,
            step=parent.step,
            shard=row["shard"],
            epoch=parent.epoch,
            attempt=row["attempt"],
            status=StepStatus.DISPATCHED,
            stage=row["stage"],
        )
        for row in rows
    ]


async def cancel_shards(connection: database.Connection, steps: Sequence[tuple[UUID, str, int]]) -> None:
    """Cancels every shard of these steps that is not over, each step given as execution, step and epoch."""
    await connection.execute(SQL["cancel_shards"], [s[0] for s in steps], [s[1] for s in steps], [s[2] for s in steps])


async def update_steps(connection: database.Connection, changes: Sequence[tuple[StepExecution, StepExecution]]) -> None:
    """Writes pairs of old and new row; raises GuardError unless each found its old state."""
    if not changes:
        return
    olds = [old for old, _ in changes]
    news = [new for _, new in changes]
    identity: list[list[Any]] = [
        [o.execution_id for o in olds],
        [o.step for o in olds],
        [o.shard for o in olds],
        [o.epoch for o in olds],
        [o.attempt for o in olds],
        [o.status.value for o in olds],
    ]
    rows = await connection.fetch(SQL["update_steps"], *identity, *_values(olds, news))
    if len(rows) != len(changes):
        raise GuardError(f"{len(changes) - len(rows)} of {len(changes)} steps had changed meanwhile")


def _values(olds: Sequence[StepExecution], news: Sequence[StepExecution]) -> list[list[Any]]:
    offered = [
        new.status is StepStatus.DISPATCHED and (old.status, old.attempt) != (new.status, new.attempt)
        for old, new in zip(olds, news, strict=True)
    ]
    return [
        [n.attempt for n in news],
        [n.status.value for n in news],
        [n.stage for n in news],
        [n.retries for n in news],
        [n.fallback for n in news],
        [n.worker for n in news],
        # An array of arrays would be one array of two dimensions to Postgres.
        [json.dumps(n.starts) for n in news],
        [n.shards for n in news],
        [n.inputs for n in news],
        [n.manifest for n in news],
        [n.output for n in news],
        [n.files or None for n in news],
        [n.summary or None for n in news],
        [n.metrics or None for n in news],
        [n.error_class.value if n.error_class else None for n in news],
        [n.error for n in news],
        [n.error_details or None for n in news],
        [n.fraction for n in news],
        [n.note for n in news],
        offered,
        [n.epoch for n in news],
        [n.degraded for n in news],
        [n.remade for n in news],
    ]


async def update_executions(connection: database.Connection, changes: Sequence[tuple[Execution, Execution]]) -> None:
    """Writes pairs of old and new execution; raises GuardError unless each found its old state."""
    if not changes:
        return
    rows = await connection.fetch(
        SQL["update_executions"],
        [old.id for old, _ in changes],
        [old.epoch for old, _ in changes],
        [old.status.value for old, _ in changes],
        [new.status.value for _, new in changes],
        [new.explanation for _, new in changes],
        [new.epoch for _, new in changes],
        [new.pause_reason for _, new in changes],
    )
    if len(rows) != len(changes):
        raise GuardError(f"{len(changes) - len(rows)} of {len(changes)} executions had changed meanwhile")


async def insert_deliverables(
    connection: database.Connection, items: Sequence[tuple[UUID, int, messages.Deliverable]]
) -> None:
    """Records what executions hand to their clients, each given with its execution and epoch, instead of older ones."""
    made = sorted({(execution_id, item.step, epoch) for execution_id, epoch, item in items})
    await connection.execute(SQL["drop_deliverables"], *([one[i] for one in made] for i in range(3)))
    await connection.execute(
        SQL["insert_deliverables"],
        [execution_id for execution_id, _, _ in items],
        [item.step for _, _, item in items],
        [item.format for _, _, item in items],
        [epoch for _, epoch, _ in items],
        [item.ref for _, _, item in items],
    )


async def insert_timeline(
    connection: database.Connection,
    facts: Sequence[tuple[UUID, str, str | None, int | None, int | None, str, Mapping[str, object]]],
) -> None:
    """Appends facts: execution, kind, step, shard, attempt, actor, detail."""
    await connection.execute(SQL["insert_timeline"], *([fact[i] for fact in facts] for i in range(7)))


async def mark_published(connection: database.Connection, keys: Sequence[messages.TaskKey]) -> None:
    """Notes that the broker has confirmed these tasks."""
    await connection.execute(
        SQL["mark_published"],
        [k.execution_id for k in keys],
        [k.epoch for k in keys],
        [k.step for k in keys],
        [k.shard for k in keys],
        [k.attempt for k in keys],
    )


async def joined(connection: database.Connection, parent: StepExecution) -> messages.Joined:
    """The outputs and failures of all shards of a step that was joined."""
    rows = await connection.fetch(SQL["joined_shards"], parent.execution_id, parent.step, parent.epoch)
    return messages.Joined(
        outputs=tuple(DataRef.model_validate(row["output"]) for row in rows if row["status"] == "completed"),
        failures=tuple(
            messages.ShardFailure(
                shard=row["shard"],
                error_class=ErrorClass(row["error_class"]),
                explanation=row["error"] or "",
                details=row["error_details"] or {},
            )
            for row in rows
            if row["status"] == "failed"
        ),
    )


def _reference(value: Any) -> DataRef | None:
    return None if value is None else DataRef.model_validate(value)


def _execution(row: database.Row) -> Execution:
    return Execution(
        id=row["id"],
        client=row["client_id"],
        submit_key=row["submit_key"],
        template=row["template"],
        template_version=row["template_version"],
        parameters=row["parameters"],
        tier=Tier(row["tier"]),
        quality=Quality(row["quality"]),
        optimise_for=OptimiseFor(row["optimise_for"]),
        epoch=row["epoch"],
        status=ExecutionStatus(row["status"]),
        budget=row["budget"],
        used=row["used"] or 0,
        month_left=row["month_left"],
        pause_reason=PauseReason(row["pause_reason"]) if row["pause_reason"] else None,
        reply_to=row["reply_to"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
        explanation=row["explanation"],
        seconds=row["seconds"],
    )


def _step(row: database.Row) -> StepExecution:
    return StepExecution(
        execution_id=row["execution_id"],
        step=row["step"],
        shard=row["shard"],
        epoch=row["epoch"],
        attempt=row["attempt"],
        status=states.StepStatus(row["status"]),
        stage=row["stage"],
        retries=row["retries"],
        fallback=row["fallback"],
        worker=row["worker"],
        starts=tuple(row["starts"]),
        shards=row["shards"],
        inputs=None if row["inputs"] is None else messages.Inputs.model_validate(row["inputs"]),
        manifest=_reference(row["manifest"]),
        output=_reference(row["output"]),
        files={k: DataRef.model_validate(v) for k, v in (row["files"] or {}).items()},
        summary=row["summary"] or {},
        metrics=row["metrics"] or {},
        error_class=ErrorClass(row["error_class"]) if row["error_class"] else None,
        error=row["error"],
        error_details=row["error_details"] or {},
        fraction=row["fraction"],
        note=row["note"],
        dispatched_at=row["dispatched_at"],
        degraded=row["degraded"],
        remade=row["remade"],
    )
