"""The steps of running executions as this coordinator last saw them, so that most need not be read again.

Nothing here is believed: under the execution's lock the database is asked for the version of each row, which Postgres
changes with every write of anybody, and what differs in one row is read anew as a whole.
"""

import dataclasses
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
    """The steps of an execution, without shards, and the version of each row."""

    versions: Versions
    rows: Rows


class Memory:
    """Keeps what was seen last of the executions that were touched last."""

    def __init__(self) -> None:
        self._known: OrderedDict[UUID, Known] = OrderedDict()

    async def recall(
        self, connection: database.Connection, ids: Iterable[UUID]
    ) -> tuple[dict[UUID, Rows], dict[UUID, Versions]]:
        """The steps of those executions whose rows are as remembered, and the versions of all; locks are held."""
        versions = await executions.step_versions(connection, ids)
        found: dict[UUID, Rows] = {}
        for execution_id, current in versions.items():
            known = self._known.get(execution_id)
            if known is not None and known.versions == current:
                found[execution_id] = known.rows
        return found, versions

    def keep(self, before: Versions, snapshot: Snapshot, changed: frozenset[str], written: Written | None) -> None:
        """Remembers an execution as it is about to be committed; if that fails, the versions will not be those.

        ``before`` are the versions that were read, none for rows that are new; ``changed`` names the steps written.
        """
        if snapshot.execution.status in EXECUTION_OVER or (changed and written is None):
            self._known.pop(snapshot.id, None)
            return
        rows = {place: row for place, row in snapshot.rows.items() if not place[1]}
        versions = before or (dict.fromkeys((step for step, _ in rows), written.version) if written else {})
        if written is not None:
            versions = {**versions, **dict.fromkeys(changed, written.version)}
            rows |= {(step, 0): _stored(rows[step, 0], written) for step in changed}
        self._known[snapshot.id] = Known(versions, rows)
        self._known.move_to_end(snapshot.id)
        if len(self._known) > CAPACITY:
            self._known.popitem(last=False)


def _stored(row: StepExecution, written: Written) -> StepExecution:
    """The row as it would be read: the database sets the time of an offer, and the wait is a timer's."""
    at = written.at if row.status is StepStatus.DISPATCHED else row.dispatched_at
    return row._replace(dispatched_at=at, wait=None)
