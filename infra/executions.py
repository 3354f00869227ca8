"""Executions and their steps in Postgres: read under lock, written under guard."""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from contracts import messages
from contracts.errors import ErrorClass
from contracts.executions import Execution, StepExecution
from contracts.refs import DataRef
from contracts.states import StepStatus
from infra import database, outbox, rows, statements
from infra.outbox import Owed

SQL = statements.load("executions")

ShardCounts = dict[tuple[UUID, str], dict[StepStatus, int]]


class Versions(NamedTuple):
    """The versions of an execution's row and of those of its steps. Where they are as some transaction has left them,
    so are the rows; while it goes on, it may write a row again and leave its version."""

    execution: str
    steps: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """What the database says of rows that it wrote together: their version, and the time that it took for now."""

    version: str
    at: datetime.datetime


class GuardError(Exception):
    """A guarded write met another state than the one it was decided on; the transaction must be run again."""


async def lock(connection: database.Connection, ids: Iterable[UUID]) -> dict[UUID, Execution]:
    """The executions of these ids that exist, locked in the order of their ids until the transaction ends."""
    return {execution_id: execution for execution_id, (execution, _) in (await lock_versions(connection, ids)).items()}


async def lock_versions(connection: database.Connection, ids: Iterable[UUID]) -> dict[UUID, tuple[Execution, str]]:
    """The same, each with the version of its row."""
    found = await connection.fetch(SQL["lock_executions"], sorted(ids))
    return {row["id"]: (rows.execution(row), row["version"]) for row in found}


async def load_steps(
    connection: database.Connection, ids: Iterable[UUID], shards: Iterable[tuple[UUID, str, int]]
) -> list[StepExecution]:
    """All steps of the executions, and those of their shards that are named."""
    named = sorted(shards)
    found = await connection.fetch(
        SQL["load_steps"], list(ids), [n[0] for n in named], [n[1] for n in named], [n[2] for n in named]
    )
    return [rows.step(row) for row in found]


async def step_versions(connection: database.Connection, ids: Iterable[UUID]) -> dict[UUID, dict[str, str]]:
    """The versions of all steps of the executions, as far as they have any."""
    found = await connection.fetch(SQL["step_versions"], list(ids))
    return {row["execution_id"]: dict(zip(row["steps"], row["versions"], strict=True)) for row in found}


async def count_shards(connection: database.Connection, steps: Iterable[tuple[UUID, str, int]]) -> ShardCounts:
    """Shards by status of steps that were fanned out, each given as execution, step and epoch."""
    named = list(steps)
    found = await connection.fetch(
        SQL["count_shards"], [n[0] for n in named], [n[1] for n in named], [n[2] for n in named]
    )
    counts: ShardCounts = {(execution_id, step): {} for execution_id, step, _ in named}
    for row in found:
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
    found = await connection.fetch(SQL["release_shards"], parent.execution_id, parent.step, parent.epoch, limit)
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
        for row in found
    ]


async def cancel_shards(connection: database.Connection, steps: Sequence[tuple[UUID, str, int]]) -> None:
    """Cancels every shard of these steps that is not over, each step given as execution, step and epoch."""
    await connection.execute(SQL["cancel_shards"], [s[0] for s in steps], [s[1] for s in steps], [s[2] for s in steps])


async def update_steps(
    connection: database.Connection, changes: Sequence[tuple[StepExecution, StepExecution]]
) -> Written | None:
    """Writes pairs of old and new row; raises GuardError unless each found its old state."""
    if not changes:
        return None
    found = await connection.fetch(SQL["update_steps"], [_change(old, new) for old, new in changes])
    if len(found) != len(changes):
        raise GuardError(f"{len(changes) - len(found)} of {len(changes)} steps had changed meanwhile")
    return Written(found[0]["version"], found[0]["at"])


@dataclasses.dataclass(frozen=True, slots=True)
class Remembered:
    """What was decided about an execution that is only remembered: it counts if these are its versions.

    ``moved`` is the execution before and after, None if it stays as it is.
    """

    execution_id: UUID
    epoch: int
    versions: Versions
    changes: Sequence[tuple[StepExecution, StepExecution]]
    moved: tuple[Execution, Execution] | None = None
    delivered: Sequence[messages.Deliverable] = ()
    owed: Sequence[Owed] = ()


async def settle(
    connection: database.Connection, items: Sequence[Remembered]
) -> dict[UUID, tuple[Written, list[Owed]]]:
    """Writes what was decided about executions that are as they are remembered; returns those alone, with what is owed.

    One round trip, which is the whole transaction unless the caller holds one.
    """
    delivered = [_delivered(item.execution_id, item.epoch, made) for item in items for made in item.delivered]
    found = await connection.fetch(
        SQL["settle"],
        [item.execution_id for item in items],
        [item.versions.execution for item in items],
        [" ".join(version for _, version in sorted(item.versions.steps.items())) for item in items],
        [len(item.changes) + (item.moved is not None) for item in items],
        [_change(old, new) for item in items for old, new in item.changes],
        [_moved(*item.moved) for item in items if item.moved] or None,
        delivered or None,
        [outbox.document(owed) for item in items for owed in item.owed] or None,
    )
    own = {item.execution_id: item for item in items}
    return {
        row["id"]: (
            Written(row["version"], row["at"]),
            [dataclasses.replace(owed, id=n) for owed, n in zip(own[row["id"]].owed, row["owed_ids"], strict=True)],
        )
        for row in found
    }


def is_offered(old: StepExecution, new: StepExecution) -> bool:
    """Whether the change of a row offers its task anew."""
    return new.status is StepStatus.DISPATCHED and (old.status, old.attempt) != (new.status, new.attempt)


def _change(old: StepExecution, new: StepExecution) -> dict[str, Any]:
    """A row as one document, which is written much faster than an array for each column."""
    told = {
        "execution_id": old.execution_id,
        "step": old.step,
        "shard": old.shard,
        "old_epoch": old.epoch,
        "old_attempt": old.attempt,
        "old_status": old.status,
        "attempt": new.attempt,
        "status": new.status,
        "stage": new.stage,
        "retries": new.retries,
        "fallback": new.fallback,
        "starts": new.starts,
        "offered": is_offered(old, new),
        "epoch": new.epoch,
        "degraded": new.degraded,
        "remade": new.remade,
    }
    for name in _MOSTLY_UNSET:
        value = getattr(new, name)
        if value is not None and value != {}:
            told[name] = value
    return told


_MOSTLY_UNSET = (
    *("worker", "shards", "inputs", "manifest", "output", "files", "summary", "metrics"),
    *("error_class", "error", "error_details", "fraction", "note"),
)


async def update_executions(connection: database.Connection, changes: Sequence[tuple[Execution, Execution]]) -> None:
    """Writes pairs of old and new execution; raises GuardError unless each found its old state."""
    if not changes:
        return
    found = await connection.fetch(SQL["update_executions"], [_moved(old, new) for old, new in changes])
    if len(found) != len(changes):
        raise GuardError(f"{len(changes) - len(found)} of {len(changes)} executions had changed meanwhile")


async def insert_deliverables(
    connection: database.Connection, items: Sequence[tuple[UUID, int, messages.Deliverable]]
) -> None:
    """Records what executions hand to their clients, each given with its execution and epoch, instead of older ones."""
    await connection.execute(SQL["insert_deliverables"], [_delivered(*item) for item in items])


def _moved(old: Execution, new: Execution) -> dict[str, Any]:
    return {
        "id": old.id,
        "old_epoch": old.epoch,
        "old_status": old.status,
        "status": new.status,
        "explanation": new.explanation,
        "epoch": new.epoch,
        "pause_reason": new.pause_reason,
    }


def _delivered(execution_id: UUID, epoch: int, item: messages.Deliverable) -> dict[str, Any]:
    return {"execution_id": execution_id, "step": item.step, "format": item.format, "epoch": epoch, "ref": item.ref}


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
    found = await connection.fetch(SQL["joined_shards"], parent.execution_id, parent.step, parent.epoch)
    return messages.Joined(
        outputs=tuple(DataRef.model_validate(row["output"]) for row in found if row["status"] == "completed"),
        failures=tuple(
            messages.ShardFailure(
                shard=row["shard"],
                error_class=ErrorClass(row["error_class"]),
                explanation=row["error"] or "",
                details=row["error_details"] or {},
            )
            for row in found
            if row["status"] == "failed"
        ),
    )
