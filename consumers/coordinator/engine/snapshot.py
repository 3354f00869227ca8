"""One execution as the engine sees it: its row, its template, its steps, and the shards that are being touched."""

import types
from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from contracts.executions import Execution, StepExecution
from contracts.messages import Json
from contracts.states import STEP_OVER, ExecutionStatus, PauseReason, StepStatus
from contracts.templates import Template

Place = tuple[str, int]
"""A step and a shard of it; shard 0 is the step itself."""


class Snapshot(NamedTuple):
    """``rows`` holds every step and the shards asked for; ``counts`` the shards by status of open fan-outs.

    A tuple, as what it holds: several are made for each event.
    """

    execution: Execution
    template: Template
    rows: Mapping[Place, StepExecution]
    counts: Mapping[str, Mapping[StepStatus, int]] = types.MappingProxyType({})

    @property
    def id(self) -> UUID:
        """The execution's id."""
        return self.execution.id

    def step(self, name: str) -> StepExecution:
        """The row of a step itself."""
        return self.rows[name, 0]

    def with_row(self, row: StepExecution) -> "Snapshot":
        """This snapshot with a row replaced, and with its shard counted under the new status."""
        counts = self.counts
        old = self.rows.get((row.step, row.shard))
        if row.shard and old is not None and old.status is not row.status and row.step in counts:
            counts = {**counts, row.step: _moved(counts[row.step], old.status, row.status, 1)}
        return Snapshot(self.execution, self.template, {**self.rows, (row.step, row.shard): row}, counts)

    def with_shards_moved(self, step: str, old: StepStatus, new: StepStatus, number: int) -> "Snapshot":
        """This snapshot with a number of unloaded shards of a step counted under another status."""
        return self._replace(counts={**self.counts, step: _moved(self.counts.get(step, {}), old, new, number)})

    def with_shards_cancelled(self, step: str) -> "Snapshot":
        """This snapshot with every shard of a step cancelled that is not over, the unloaded ones as counts."""
        rows = {
            place: row._replace(status=StepStatus.CANCELLED)
            if row.step == step and row.shard and row.status not in STEP_OVER
            else row
            for place, row in self.rows.items()
        }
        counts = self.counts
        if step in counts:
            over = {status: number for status, number in counts[step].items() if status in STEP_OVER}
            left = sum(counts[step].values()) - sum(over.values())
            counts = {**counts, step: {**over, StepStatus.CANCELLED: over.get(StepStatus.CANCELLED, 0) + left}}
        return self._replace(rows=rows, counts=counts)

    def with_status(
        self, status: ExecutionStatus, explanation: str = "", reason: PauseReason | None = None
    ) -> "Snapshot":
        """This snapshot with another status of the execution, and the reason if that is a pause."""
        execution = self.execution._replace(
            status=status, explanation=explanation or self.execution.explanation, pause_reason=reason
        )
        return self._replace(execution=execution)

    def with_counts(self, step: str, counts: Mapping[StepStatus, int]) -> "Snapshot":
        """This snapshot with the shards of a step counted anew."""
        return self._replace(counts={**self.counts, step: counts})

    @property
    def running(self) -> bool:
        """Whether further work may begin: the execution has a slot."""
        return self.execution.status is ExecutionStatus.RUNNING

    def shards(self, step: str, *statuses: StepStatus) -> int:
        """How many shards of a step stand in one of these statuses."""
        return sum(self.counts.get(step, {}).get(status, 0) for status in statuses)

    def variables(self) -> dict[str, Json]:
        """What expressions see: the parameters, the context, and the status and summary of each step that is over."""
        execution = self.execution
        steps: dict[str, Json] = {
            row.step: {**row.summary, "status": row.status.value}
            for row in self.rows.values()
            if row.shard == 0 and row.status in STEP_OVER
        }
        return {
            "parameters": dict(execution.parameters),
            "context": {
                "client": execution.client,
                "tier": execution.tier.value,
                "quality": execution.quality.value,
                "optimise_for": execution.optimise_for.value,
                "template": execution.template,
                "template_version": execution.template_version,
                "budget": execution.budget,
            },
            "steps": steps,
        }


def _moved(counts: Mapping[StepStatus, int], old: StepStatus, new: StepStatus, number: int) -> dict[StepStatus, int]:
    return {**counts, old: counts.get(old, 0) - number, new: counts.get(new, 0) + number}
