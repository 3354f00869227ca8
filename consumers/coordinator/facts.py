"""What the engine is told besides the workers' events: passing time, lost work, and people's decisions."""

import dataclasses
from uuid import UUID

from contracts import messages
from contracts.messages import TaskKey
from contracts.refs import DataRef


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


TaskEvent = messages.StageAccepted | messages.StageProgress | messages.StageCompleted | messages.StageFailed
TaskFact = TaskEvent | Prepared | RetryDue | LeaseLapsed | TaskLost | TaskDied | DeadlinePassed | CrashLooped
Fact = TaskFact | Started | Cancelled


def execution_id(fact: Fact) -> UUID:
    """The execution that a fact is about."""
    if isinstance(fact, Started | Cancelled):
        return fact.execution_id
    return fact.key.execution_id
