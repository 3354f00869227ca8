"""Every message of the factory: commands are imperative, events past participles.

A message names work and documents; it never carries the documents. It is JSON of at most 32 KiB. The AMQP property
``type`` holds the model's name, ``message_id`` is unique for each publish, ``correlation_id`` is the execution and the
header ``traceparent`` carries the trace.
"""

from typing import Annotated, Literal, NamedTuple
from uuid import UUID

import pydantic

from contracts import refs
from contracts.errors import ErrorClass, Reason
from contracts.model import Model, Summary
from contracts.states import ExecutionStatus, StepStatus
from contracts.tiers import OptimiseFor, Quality, Tier

INPUTS_LIMIT = 16 * 1024
"""Inputs that take more than this in a task are replaced by one manifest object."""

Name = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
ShortText = Annotated[str, pydantic.StringConstraints(max_length=2000)]
Details = Annotated[
    dict[str, Annotated[str, pydantic.StringConstraints(max_length=2048)]], pydantic.Field(max_length=8)
]
Key = Annotated[str, pydantic.StringConstraints(min_length=1, max_length=200)]
Json = pydantic.JsonValue


class Message(Model):
    """What all messages share: the version of their schema."""

    version: Literal[1] = 1


# --- Jobs: from a producer to the coordinator, and the answers -------------------------------------------------------


class SubmitJob(Message):
    """Run this template with these parameters for this client.

    ``submit_key`` is unique per client: a repeat gets the first answer again, and the same key with other content is
    rejected. ``urgency`` orders a client's own jobs and nobody else's. ``budget`` is in millionths of a US dollar.
    ``delay`` and ``deadline`` are in seconds from its acceptance: it does not begin before the one, and at the other it
    ends with what it has.
    """

    submit_key: Key
    client: Key
    template: Name
    template_version: Annotated[int, pydantic.Field(ge=1)] | None = None
    parameters: dict[str, Json] = pydantic.Field(default_factory=dict)
    quality: Quality = Quality.STANDARD
    optimise_for: OptimiseFor = OptimiseFor.BALANCE
    urgency: Annotated[int, pydantic.Field(ge=0, le=9)] = 5
    budget: Annotated[int, pydantic.Field(ge=0)] | None = None
    delay: Annotated[float, pydantic.Field(ge=0, le=31_622_400)] = 0
    deadline: Annotated[float, pydantic.Field(gt=0, le=31_622_400)] | None = None


class JobAccepted(Message):
    """The job is stored and will run; ``position`` counts the client's jobs ahead of it."""

    submit_key: Key
    execution_id: UUID
    template: Name
    template_version: int
    tier: Tier
    position: int


class JobRejected(Message):
    """The job will not run; ``explanation`` names the field, the value and the remedy."""

    submit_key: Key | None = None
    reason: Reason
    explanation: ShortText


class Deliverable(Model):
    """A document handed to the client."""

    step: Name
    format: Name
    ref: refs.DataRef


class ExecutionFinished(Message):
    """An execution reached its end."""

    execution_id: UUID
    submit_key: Key
    client: Key
    status: ExecutionStatus
    deliverables: tuple[Deliverable, ...] = ()
    explanation: ShortText = ""
    seconds: float


# --- Work: from the coordinator to a worker, and the events back -----------------------------------------------------


class TaskKey(NamedTuple):
    """One attempt at one step, or at one shard of it, within one epoch of its execution. Shard 0 is the step itself."""

    execution_id: UUID
    epoch: int
    step: str
    shard: int
    attempt: int


class TaskMessage(Message):
    """What every message about a task begins with."""

    execution_id: UUID
    epoch: Annotated[int, pydantic.Field(ge=1)]
    step: Name
    shard: Annotated[int, pydantic.Field(ge=0)] = 0
    attempt: Annotated[int, pydantic.Field(ge=1)]

    @property
    def key(self) -> TaskKey:
        """The identity of the attempt that this message is about."""
        return TaskKey(self.execution_id, self.epoch, self.step, self.shard, self.attempt)


class TaskContext(Model):
    """For whom and how a task is done. ``budget_left`` is in millionths of a US dollar.

    ``degraded`` forbids paid calls: the budget is used up, and the template prefers a cheaper result to none.
    """

    client: Key
    tier: Tier
    template: Name
    template_version: int
    quality: Quality = Quality.STANDARD
    optimise_for: OptimiseFor = OptimiseFor.BALANCE
    budget_left: int | None = None
    degraded: bool = False


class ShardFailure(Model):
    """Why one shard of a fan-out has no output."""

    shard: int
    error_class: ErrorClass
    explanation: ShortText
    details: Details = pydantic.Field(default_factory=dict)


class Joined(Model):
    """The outputs of a fan-out that was joined, in the order of their shards, and what failed."""

    outputs: tuple[refs.DataRef, ...] = ()
    failures: tuple[ShardFailure, ...] = ()


class ShardInput(Model):
    """The record of a document that a shard works on: ``field`` of the stage's input is record ``index`` of ``ref``."""

    field: Name
    ref: refs.DataRef
    index: Annotated[int, pydantic.Field(ge=0)]


TaskInput = refs.DataRef | Joined
"""The output of one step, or of all shards of a step that was fanned out."""


class Inputs(Model):
    """What a task reads, by the name of the field in its stage's input model."""

    fields: dict[Name, TaskInput] = pydantic.Field(default_factory=dict)


class StageTask(TaskMessage):
    """The offer of one attempt: references and parameters, no data.

    ``inputs`` is either the references themselves or, when they are too many, one reference to a manifest: a JSON
    document that is an ``Inputs``. ``timeout`` is in seconds and starts when the work starts.
    """

    stage: Name
    context: TaskContext
    parameters: dict[str, Json] = pydantic.Field(default_factory=dict)
    inputs: Inputs = Inputs()
    manifest: refs.DataRef | None = None
    shard_input: ShardInput | None = None
    timeout: Annotated[float, pydantic.Field(gt=0)]


class StageAccepted(TaskMessage):
    """A worker has begun; ``estimate`` is how many seconds it expects to need."""

    worker: Key
    redelivered: bool = False
    estimate: float | None = None


class StageProgress(TaskMessage):
    """How far the work is, between 0 and 1."""

    worker: Key
    fraction: Annotated[float, pydantic.Field(ge=0, le=1)]
    note: Annotated[str, pydantic.StringConstraints(max_length=200)] = ""


class StageCompleted(TaskMessage):
    """The attempt succeeded: its output is stored and named here."""

    worker: Key
    output: refs.DataRef
    files: Annotated[dict[Name, refs.DataRef], pydantic.Field(max_length=16)] = pydantic.Field(default_factory=dict)
    summary: Summary = pydantic.Field(default_factory=dict)
    metrics: dict[Name, float] = pydantic.Field(default_factory=dict)


class StageFailed(TaskMessage):
    """The attempt failed. ``after`` is the least delay in seconds before another one makes sense.

    ``outage`` says that a server of the factory was away: the attempt is then not charged to the retry policy.
    """

    worker: Key
    error_class: ErrorClass
    outage: bool = False
    explanation: ShortText
    details: Details = pydantic.Field(default_factory=dict)
    after: Annotated[float, pydantic.Field(ge=0, le=86400)] | None = None
    metrics: dict[Name, float] = pydantic.Field(default_factory=dict)


class WorkerHeartbeat(Message):
    """A worker is alive and holds these tasks, those it has buffered included. ``sequence`` only rises."""

    worker: Key
    sequence: int
    stages: tuple[Name, ...]
    capacity: int
    in_flight: int
    held: tuple[TaskKey, ...] = ()
    stopping: bool = False


# --- Control: to every worker ----------------------------------------------------------------------------------------


class CancelWork(Message):
    """Stop work on this execution that belongs to this epoch or to one before it, of these steps if any is named."""

    execution_id: UUID
    epoch: int
    steps: tuple[Name, ...] = ()


class DrainWorker(Message):
    """This worker instance takes no more work, finishes what it holds and ends."""

    worker: Key


class ControlSnapshot(Message):
    """All cancellations that may still have running work, and every paused stage.

    Published again each minute for those who missed a change; the latest one says which stages are paused.
    """

    cancelled: tuple[tuple[UUID, int], ...] = ()
    paused_stages: tuple[Name, ...] = ()


# --- Notifications: to whoever watches -------------------------------------------------------------------------------


class StepState(Model):
    """Where a step of a running execution stands."""

    status: StepStatus
    fraction: float | None = None
    done: int | None = None
    total: int | None = None


class ExecutionProgressed(Message):
    """The state of a running execution, published at most about once a second and never owed to anyone."""

    execution_id: UUID
    client: Key
    status: ExecutionStatus
    steps: dict[Name, StepState] = pydantic.Field(default_factory=dict)


class Probe(Message):
    """Published and rejected by a starting coordinator, to see that rejected messages arrive in ``dead-letters``."""

    nonce: Key
