"""Executions and their steps as values: what a row of theirs says.

They are tuples, because the coordinator makes several of them for each event, and a tuple is made four times as fast as
a frozen dataclass of so many fields.
"""

import datetime
import types
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from contracts import messages
from contracts.errors import ErrorClass
from contracts.messages import Json
from contracts.model import Scalar
from contracts.refs import DataRef
from contracts.states import ExecutionStatus, PauseReason, StepStatus
from contracts.tiers import OptimiseFor, Quality, Tier

_EMPTY: Mapping[str, Any] = types.MappingProxyType({})


class Execution(NamedTuple):
    """One run of one template version, as stored.

    Amounts are in millionths of a US dollar: the ``budget``, what was ``used`` of it up to now, and what is left of the
    client's month; None is no limit.
    """

    id: UUID
    client: str
    submit_key: str
    template: str
    template_version: int
    parameters: Mapping[str, Json]
    tier: Tier
    quality: Quality
    optimise_for: OptimiseFor
    epoch: int
    status: ExecutionStatus
    budget: int | None = None
    pause_reason: PauseReason | None = None
    reply_to: str | None = None
    correlation_id: str | None = None
    traceparent: str | None = None
    explanation: str = ""
    used: int = 0
    month_left: int | None = None
    seconds: float = 0.0
    """Since it was submitted."""

    @property
    def budget_left(self) -> int | None:
        """What paid calls may still cost, as far as is known here; the ledger alone decides."""
        caps = [] if self.budget is None else [self.budget - self.used]
        caps += [] if self.month_left is None else [self.month_left]
        return max(min(caps), 0) if caps else None


class StepExecution(NamedTuple):
    """A step (shard 0) or one shard of it inside an execution, as stored.

    ``retries`` counts the attempts that are charged to the retry policy; ``attempt`` counts all and never restarts.
    ``starts`` names the worker instances that confirmed a start. ``wait`` is in seconds from the commit, None for a
    row that waits until its execution goes on. ``degraded`` forbids paid calls; ``remade`` counts how often the step
    was done again because its output had vanished.
    """

    execution_id: UUID
    step: str
    shard: int
    epoch: int
    attempt: int
    status: StepStatus
    stage: str
    retries: int = 0
    fallback: int = 0
    worker: str | None = None
    starts: tuple[str, ...] = ()
    shards: int | None = None
    inputs: messages.Inputs | None = None
    manifest: DataRef | None = None
    output: DataRef | None = None
    files: Mapping[str, DataRef] = _EMPTY
    summary: Mapping[str, Scalar] = _EMPTY
    metrics: Mapping[str, float] = _EMPTY
    error_class: ErrorClass | None = None
    error: str | None = None
    error_details: Mapping[str, str] = _EMPTY
    fraction: float | None = None
    note: str | None = None
    wait: float | None = None
    dispatched_at: datetime.datetime | None = None
    degraded: bool = False
    remade: int = 0

    @property
    def key(self) -> messages.TaskKey:
        """The identity of the current attempt."""
        return messages.TaskKey(self.execution_id, self.epoch, self.step, self.shard, self.attempt)
