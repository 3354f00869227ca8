"""What the engine is told besides the workers' events: passing time, lost work, and people's decisions."""

import dataclasses
from typing import Literal
from uuid import UUID

from contracts import messages
from contracts.messages import TaskKey
from contracts.refs import DataRef
from contracts.states import PauseReason


@dataclasses.dataclass(frozen=True, slots=True)
class Started:
    """The execution was admitted: it has a slot."""

    execution_id: UUID


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """The inputs of a step whose upstream was fanned out are gathered: references, or a manifest of them."""

    key: TaskKey
    inputs: messages.Inputs
    manifest: DataRef | None


@dataclasses.dataclass(frozen=True, slots=True)
class RetryDue:
    """The delay before a further attempt is over."""

    key: TaskKey


@dataclasses.dataclass(frozen=True, slots=True)
class LeaseLapsed:
    """The worker that held the task has not been heard of for a lease period."""

    key: TaskKey
    worker: str


@dataclasses.dataclass(frozen=True, slots=True)
class TaskLost:
    """The task was published, no worker holds it, and its queue does not have it any more."""

    key: TaskKey


@dataclasses.dataclass(frozen=True, slots=True)
class TaskDied:
    """The broker gave the task up after handing it out too often."""

    key: TaskKey


@dataclasses.dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The worker still holds the task long after its time-out."""

    key: TaskKey


@dataclasses.dataclass(frozen=True, slots=True)
class CrashLooped:
    """Each of so many confirmed starts ended with the death of the worker."""

    key: TaskKey
    starts: int


@dataclasses.dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody wants the execution to stop."""

    execution_id: UUID
    actor: str
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Paused:
    """The execution is to wait: nothing further begins, what runs may end."""

    execution_id: UUID
    reason: PauseReason
    actor: str = "coordinator"
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Resumed:
    """The execution may go on, once it has a slot. With a reason it does so only if it was paused for that one."""

    execution_id: UUID
    reason: PauseReason | None = None
    actor: str = "coordinator"
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Reopened:
    """A part of the execution is to be done again under a new epoch; ``steps`` None means all of it.

    With ``keep`` the shards that completed keep their results. With ``only_if`` it happens only while that attempt is
    still the latest of its step, so that the same wish, told twice, counts once.
    """

    execution_id: UUID
    steps: tuple[str, ...] | None
    kind: Literal["retry", "rerun", "restart", "requeue"]
    keep: bool = False
    only_if: TaskKey | None = None
    actor: str = "coordinator"
    note: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class TimeUp:
    """The deadline of the execution has passed."""

    execution_id: UUID


TaskEvent = messages.StageAccepted | messages.StageProgress | messages.StageCompleted | messages.StageFailed
TaskFact = TaskEvent | Prepared | RetryDue | LeaseLapsed | TaskLost | TaskDied | DeadlinePassed | CrashLooped
ExecutionFact = Started | Cancelled | Paused | Resumed | Reopened | TimeUp
Fact = TaskFact | ExecutionFact


def execution_id(fact: Fact) -> UUID:
    """The execution that a fact is about."""
    if isinstance(fact, ExecutionFact):
        return fact.execution_id
    return fact.key.execution_id
