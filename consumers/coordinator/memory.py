"""Running executions as this coordinator last saw them, so that most need not be read again.

Nothing here is believed: under the execution's lock the database is asked for the version of each row, which Postgres
changes with every write of anybody, and what differs in one row is read anew as a whole.
"""

import dataclasses
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from uuid import UUID

from consumers.coordinator.engine.snapshot import Place, Snapshot
from contracts.executions import StepExecution
from contracts.states import EXECUTION_OVER, StepStatus
from infra import database, executions
from infra.executions import Versions, Written

CAPACITY = 2000
"""Executions; each step of one may carry a document of 4 KiB."""

Rows = Mapping[Place, StepExecution]


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """An execution with its steps, without shards, and the version of each row; ``began`` is when it was submitted."""

    versions: Versions
    snapshot: Snapshot
    began: float

    def now(self) -> Snapshot:
        """The execution as it is by now: time alone has passed."""
        execution = self.snapshot.execution._replace(seconds=time.monotonic() - self.began)
        return dataclasses.replace(self.snapshot, execution=execution)


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

    def keep(self, read: Versions, before: Snapshot, after: Snapshot, written: Written | None) -> None:
        """Remembers an execution as it is about to be committed; if that fails, the versions will not be those.

        ``read`` are the versions that were read, of no step for steps that are new.
        """
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
        self._known[after.id] = Known(Versions(version, steps), snapshot, time.monotonic() - before.execution.seconds)
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
    return row._replace(dispatched_at=None if row.status is StepStatus.PENDING else at, wait=None)
