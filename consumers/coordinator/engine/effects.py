"""What follows from a transition besides the changed rows."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from consumers.coordinator.engine.snapshot import Snapshot
from contracts import messages
from contracts.executions import StepExecution
from contracts.messages import TaskKey


class Offer(NamedTuple):
    """Publish this task after the commit; ``body`` is the task as it is published, ``traceparent`` its execution's."""

    task: messages.StageTask
    body: bytes
    traceparent: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Prepare:
    """Gather the inputs of this step, which are too many for a message or not known yet."""

    key: TaskKey


@dataclasses.dataclass(frozen=True, slots=True)
class OpenShards:
    """Store the shards of this step."""

    parent: StepExecution


@dataclasses.dataclass(frozen=True, slots=True)
class ReleaseShards:
    """Dispatch so many further shards of this step."""

    step: str
    number: int


@dataclasses.dataclass(frozen=True, slots=True)
class KeepShards:
    """Take the shards of an older epoch over into the row's own: completed ones as they are, the others to be done."""

    parent: StepExecution
    old_epoch: int


@dataclasses.dataclass(frozen=True, slots=True)
class CancelShards:
    """Cancel every shard of this step and epoch that is not over."""

    step: str
    epoch: int


@dataclasses.dataclass(frozen=True, slots=True)
class StopWork:
    """Tell the workers to stop what they do for this execution up to this epoch, of these steps if any is named."""

    epoch: int
    steps: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class HoldTimers:
    """No delay of this execution ends while it does not run."""


@dataclasses.dataclass(frozen=True, slots=True)
class WakeTimers:
    """The execution runs again: every delay of it that was held is over."""


@dataclasses.dataclass(frozen=True, slots=True)
class Recorded:
    """A fact for the timeline that no step row tells."""

    kind: str
    step: str | None = None
    shard: int | None = None
    attempt: int | None = None
    actor: str = "coordinator"
    detail: Mapping[str, object] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Delivered:
    """A document is handed to the client."""

    deliverable: messages.Deliverable


@dataclasses.dataclass(frozen=True, slots=True)
class StepDied:
    """A step that the execution cannot do without has failed for good: it needs a person."""

    row: StepExecution


@dataclasses.dataclass(frozen=True, slots=True)
class Finished:
    """The execution reached its end."""

    message: messages.ExecutionFinished


@dataclasses.dataclass(frozen=True, slots=True)
class Ignored:
    """The fact changes nothing; the reason is counted."""

    reason: str


Effect = (
    Offer
    | Prepare
    | OpenShards
    | ReleaseShards
    | KeepShards
    | CancelShards
    | StopWork
    | HoldTimers
    | WakeTimers
    | Recorded
    | Delivered
    | StepDied
    | Finished
    | Ignored
)


class Change(NamedTuple):
    """A snapshot after a transition, and what follows from it."""

    snapshot: Snapshot
    effects: tuple[Effect, ...] = ()

    def plus(self, *effects: Effect) -> "Change":
        """This change with further effects."""
        return Change(self.snapshot, self.effects + effects)

    def to(self, snapshot: Snapshot) -> "Change":
        """This change with its snapshot taken one transition further."""
        return Change(snapshot, self.effects)
