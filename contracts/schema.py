"""The contracts as JSON Schemas and as an AsyncAPI 3 document, for producers and workers in any language."""

import dataclasses

import pydantic
from pydantic import json_schema

from contracts import (
    artifacts,
    bundles,
    encoding,
    intelligence,
    messages,
    model,
    refs,
    reports,
    steering,
    templates,
    topology,
)
from contracts.messages import Json
from contracts.tiers import Tier

Document = dict[str, Json]

_SHARED: tuple[type[model.Model], ...] = (refs.DataRef, messages.Inputs, templates.Template)
_TIER: Document = {"description": "The client's tier.", "enum": [tier.value for tier in Tier]}
_STAGE: Document = {"description": "The name of the stage."}


@dataclasses.dataclass(frozen=True)
class Channel:
    """Where messages go: an exchange with a routing key, or a queue; without an address, wherever ``reply_to`` says."""

    name: str
    description: str
    carries: tuple[type[messages.Message], ...]
    address: str | None
    exchange: str | None = None
    queue: str | None = None
    kind: topology.QueueKind = "quorum"


@dataclasses.dataclass(frozen=True)
class Operation:
    """What one party does with a channel."""

    party: str
    action: str
    channel: str
    summary: str
    carries: tuple[type[messages.Message], ...]
    answers: tuple[type[messages.Message], ...] = ()

    @property
    def name(self) -> str:
        """The operation's name in the document."""
        return f"{self.party}.{self.action}.{self.channel}"


JOBS = (messages.SubmitJob, steering.CancelExecution, steering.SteerExecution, steering.SetPause)
REPLIES = (
    messages.JobAccepted,
    messages.JobRejected,
    messages.ExecutionFinished,
    steering.ExecutionSteered,
    steering.PauseSet,
)
TASKS = (messages.StageTask,)
EVENTS = (
    messages.StageAccepted,
    messages.StageProgress,
    messages.StageCompleted,
    messages.StageFailed,
    bundles.TasksEnded,
)
HEARTBEATS = (messages.WorkerHeartbeat,)
CONTROL = (messages.CancelWork, messages.DrainWorker, messages.ControlSnapshot)
NOTIFICATIONS = (messages.ExecutionProgressed, messages.ExecutionFinished)
PROBES = (messages.Probe,)

CHANNELS = (
    Channel("jobs", "Jobs of a tier.", JOBS, "job.{tier}", exchange=topology.JOBS, queue="jobs.{tier}"),
    Channel(
        "replies",
        "Answers to a request, in the queue that its property reply_to names: a direct-reply queue "
        "(amq.rabbitmq.reply-to), one with a name made by the broker (amq.gen-...), or reply.*.",
        REPLIES,
        None,
    ),
    Channel(
        "tasks",
        "Tasks of a stage and tier.",
        TASKS,
        "stage.{stage}.{tier}",
        exchange=topology.STAGES,
        queue="stage.{stage}.{tier}",
    ),
    Channel("events", "What workers did.", EVENTS, "event.{tier}", exchange=topology.EVENTS, queue="events.{tier}"),
    Channel(
        "heartbeats",
        "Signs of life of workers, dropped when nobody reads them in time.",
        HEARTBEATS,
        topology.HEARTBEATS,
        queue=topology.HEARTBEATS,
        kind="classic",
    ),
    Channel(
        "control",
        "A stream with an hour of history, which every worker reads from an hour ago when it starts.",
        CONTROL,
        topology.CONTROL,
        queue=topology.CONTROL,
        kind="stream",
    ),
    Channel(
        "notifications",
        "How executions stand. In {client} every '.' is replaced by '_'.",
        NOTIFICATIONS,
        "execution.{client}.{execution_id}",
        exchange=topology.NOTIFICATIONS,
    ),
    Channel("probe", "Proof that rejected messages are kept.", PROBES, topology.PROBE, queue=topology.PROBE),
)

OPERATIONS = (
    Operation("client", "send", "jobs", "Submit a job, steer an execution, pause a stage.", JOBS, answers=REPLIES),
    Operation("client", "receive", "replies", "Learn what became of a job.", REPLIES),
    Operation("client", "receive", "notifications", "Watch executions.", NOTIFICATIONS),
    Operation("coordinator", "receive", "jobs", "Take jobs.", JOBS, answers=REPLIES),
    Operation("coordinator", "send", "replies", "Answer a job, now and when its execution is over.", REPLIES),
    Operation("coordinator", "send", "tasks", "Offer an attempt.", TASKS),
    Operation("coordinator", "receive", "events", "Advance executions.", EVENTS),
    Operation("coordinator", "receive", "heartbeats", "Keep leases.", HEARTBEATS),
    Operation("coordinator", "send", "control", "Stop work.", CONTROL),
    Operation("coordinator", "send", "notifications", "Tell how executions stand.", NOTIFICATIONS),
    Operation("coordinator", "send", "probe", "Prove dead-lettering before any work is taken.", PROBES),
    Operation("worker", "receive", "tasks", "Take an attempt.", TASKS),
    Operation("worker", "send", "events", "Accept, report, complete or fail an attempt.", EVENTS),
    Operation("worker", "send", "heartbeats", "Say what is held.", HEARTBEATS),
    Operation("worker", "receive", "control", "Hear what to stop.", CONTROL),
)


def models() -> dict[str, type[model.Model]]:
    """Every model that crosses a process boundary by itself, by name."""
    documents = [found for part in (artifacts, reports) for found in vars(part).values() if isinstance(found, type)]
    inputs = [spec.input for spec in intelligence.STAGES]
    named: list[type[model.Model]] = [
        *encoding.ALL.values(),
        *_SHARED,
        *(found for found in documents if issubclass(found, model.Artifact) and found is not model.Artifact),
        *inputs,
    ]
    return {found.__name__: found for found in named}


def json_schemas() -> dict[str, Document]:
    """One self-contained JSON Schema (draft 2020-12) for each model, by name."""
    return {name: _sorted_sets(_schema(found)) for name, found in models().items()}


def _schema(found: type[pydantic.BaseModel]) -> Document:
    return {"$schema": json_schema.GenerateJsonSchema.schema_dialect, **found.model_json_schema()}


def _sorted_sets(schema: Document) -> Document:
    """The schema with defaults that are sets in a fixed order, since a set has none."""
    cleaned = {key: _sorted_within(value) for key, value in schema.items()}
    default = cleaned.get("default")
    if cleaned.get("uniqueItems") and isinstance(default, list):
        cleaned["default"] = sorted(default, key=str)
    return cleaned


def _sorted_within(value: Json) -> Json:
    if isinstance(value, dict):
        return _sorted_sets(value)
    if isinstance(value, list):
        return [_sorted_within(item) for item in value]
    return value


def asyncapi() -> Document:
    """The AsyncAPI 3.0 document: every channel, who sends and receives what on it, and every message."""
    _, schemas = json_schema.models_json_schema(
        [(found, "validation") for found in encoding.ALL.values()], ref_template="#/components/schemas/{model}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "AI Factory",
            "version": "1",
            "description": "Jobs, tasks and events on RabbitMQ. Bodies are JSON of at most "
            f"{encoding.LIMIT} bytes and name documents in the object store; they never carry them. Operations are "
            "named by who does them: client, coordinator or worker.",
        },
        "defaultContentType": "application/json",
        "servers": {"broker": {"host": "localhost:5672", "protocol": "amqp", "protocolVersion": "0-9-1"}},
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {operation.name: _operation(operation) for operation in OPERATIONS},
        "components": {
            "messages": {name: _message(name, found) for name, found in encoding.ALL.items()},
            "schemas": _sorted_sets(schemas["$defs"]),
        },
    }


def _channel(channel: Channel) -> Document:
    described: Document = {
        "address": channel.address,
        "description": channel.description,
        "messages": {found.__name__: {"$ref": f"#/components/messages/{found.__name__}"} for found in channel.carries},
    }
    if channel.address is None:
        return described
    places: dict[str, Json] = {
        "tier": _TIER,
        "stage": _STAGE,
        "client": {"description": "The client's id."},
        "execution_id": {"description": "The execution."},
    }
    used = {name: place for name, place in places.items() if f"{{{name}}}" in channel.address}
    binding: Document = {"bindingVersion": "0.3.0"}
    if channel.exchange:
        exchange: Document = {"name": channel.exchange, "type": "topic", "durable": True, "autoDelete": False}
        binding |= {"is": "routingKey", "exchange": exchange}
    else:
        queue: Document = {"name": channel.queue, "durable": True, "exclusive": False, "autoDelete": False}
        binding |= {"is": "queue", "queue": queue}
    if channel.queue:
        described["x-queue"] = {"name": channel.queue, "type": channel.kind}
    return described | {"parameters": used, "bindings": {"amqp": binding}}


def _operation(operation: Operation) -> Document:
    described: Document = {
        "action": operation.action,
        "channel": {"$ref": f"#/channels/{operation.channel}"},
        "summary": operation.summary,
        "messages": [_of_channel(operation.channel, found) for found in operation.carries],
    }
    if operation.answers:
        described["reply"] = {
            "address": {"location": "$message.header#/reply_to"},
            "channel": {"$ref": "#/channels/replies"},
            "messages": [_of_channel("replies", found) for found in operation.answers],
        }
    return described


def _of_channel(channel: str, found: type[messages.Message]) -> Document:
    return {"$ref": f"#/channels/{channel}/messages/{found.__name__}"}


def _message(name: str, found: type[messages.Message]) -> Document:
    text: Document = {"type": "string"}
    properties: Document = {
        "type": {"const": name, "description": "AMQP property: the message's name."},
        "message_id": text | {"description": "AMQP property: new for every publish."},
        "correlation_id": text | {"description": "AMQP property: the execution; of an answer, that of the request."},
        "traceparent": text | {"description": "AMQP header: the W3C trace context."},
    }
    if found in JOBS:
        properties["reply_to"] = text | {"description": "AMQP property: where answers go."}
        properties["user_id"] = text | {"description": "AMQP property: the broker's user, which the broker verifies."}
    return {
        "name": name,
        "title": name,
        "summary": (found.__doc__ or "").strip().splitlines()[0],
        "contentType": "application/json",
        "headers": {"type": "object", "required": ["type", "message_id"], "properties": properties},
        "correlationId": {"location": "$message.header#/correlation_id"},
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "bindings": {"amqp": {"messageType": name, "bindingVersion": "0.3.0"}},
    }
