"""Running executions as this coordinator last saw them, so that most need not be read again.

Nothing here is believed: under the execution's lock the database is asked for the version of each row, which every
transaction that writes it changes, and what differs in one row is read anew as a whole. Two writes of one transaction
have the same version, so only what was committed is kept.
"""

import dataclasses
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from consumers.coordinator.engine.snapshot import Place, Snapshot
from contracts.executions import StepExecution
from contracts.states import EXECUTION_OVER, StepStatus
from infra import database, executions
from infra.executions import Versions, Written

CAPACITY = 1000
"""Executions. One holds its parameters and, of each step, the references that the step was given and has made, small
documents in them: some kilobytes mostly, at most what fits into one message for each."""

Rows = Mapping[Place, StepExecution]


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """An execution with its steps, without shards, and the version of each row.

    ``began`` is when it was submitted, by the monotonic clock of this process.
    """

    versions: Versions
    snapshot: Snapshot
    began: float

    def now(self) -> Snapshot:
        """The execution as it is by now: time alone has passed."""
        execution = self.snapshot.execution._replace(seconds=time.monotonic() - self.began)
        return self.snapshot._replace(execution=execution)


class Seen(NamedTuple):
    """An execution before and after a transaction.

    ``read`` are the versions that were read, of no step for steps that are new; ``written`` is what the database says
    of what it wrote, None if it wrote nothing; ``began`` is when the execution was submitted.
    """

    read: Versions
    before: Snapshot
    after: Snapshot
    written: Written | None
    began: float


class Memory:
    """Keeps what was seen last of the executions that were touched last."""

    def __init__(self) -> None:
        self._known: OrderedDict[UUID, Known] = OrderedDict()

    def known(self, execution_id: UUID) -> Known | None:
        """What is remembered of an execution, to be compared with the database."""
        return self._known.get(execution_id)

    def forget(self, execution_id: UUID) -> None:
        """Has the execution read anew."""
        self._known.pop(execution_id, None)

    async def recall(
        self, connection: database.Connection, ids: Iterable[UUID]
    ) -> tuple[dict[UUID, Rows], dict[UUID, dict[str, str]]]:
        """The steps of those executions whose rows are as remembered, and the versions of all; locks are held."""
        versions = await executions.step_versions(connection, ids)
        found: dict[UUID, Rows] = {}
        for execution_id, current in versions.items():
            known = self._known.get(execution_id)
            if known is not None and known.versions.steps == current:
                found[execution_id] = known.snapshot.rows
        return found, versions

    def keep(self, seen: Seen) -> None:
        """Remembers an execution as it was committed."""
        read, before, after, written, began = seen
        changed = _changed_steps(before, after)
        moved = after.execution is not before.execution
        if after.execution.status in EXECUTION_OVER or ((changed or moved) and written is None):
            self.forget(after.id)
            return
        rows = {place: row for place, row in after.rows.items() if not place[1]}
        steps = read.steps or (dict.fromkeys((step for step, _ in rows), written.version) if written else {})
        version = read.execution
        if written is not None:
            steps = {**steps, **dict.fromkeys(changed, written.version)}
            version = written.version if moved else version
            rows |= {(step, 0): _stored(before.rows[step, 0], rows[step, 0], written) for step in changed}
        snapshot = Snapshot(after.execution, after.template, rows)
        self._known[after.id] = Known(Versions(version, steps), snapshot, began)
        self._known.move_to_end(after.id)
        if len(self._known) > CAPACITY:
            self._known.popitem(last=False)


def _changed_steps(old: Snapshot, new: Snapshot) -> frozenset[str]:
    if old.rows is new.rows:
        return frozenset()
    return frozenset(step for (step, shard), row in new.rows.items() if not shard and row is not old.rows[step, 0])


def _stored(old: StepExecution, row: StepExecution, written: Written) -> StepExecution:
    """The row as it would be read: the database sets the time of an offer, and the wait is a timer's."""
    at = written.at if executions.is_offered(old, row) else row.dispatched_at
    if row.status is StepStatus.PENDING:
        at = None
    return row if row.wait is None and row.dispatched_at is at else row._replace(dispatched_at=at, wait=None)
