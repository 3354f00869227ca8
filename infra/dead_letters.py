"""Messages and steps that need a person, in Postgres."""

import dataclasses
import datetime
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from contracts.errors import ErrorClass, Reason
from contracts.executions import Execution, StepExecution
from contracts.messages import Json
from infra import database, statements, subjects, tracing

SQL = statements.load("dead_letters")

MARK = "dead_letter"
"""The header of a requeued message that names the letter it was."""

Selection = Mapping[str, Json]
"""A filter as operations record it: ids, status, kind, reason, error_class, stage, tier, client, template, execution,
since, until; a letter fits if it fits all that are there."""


@dataclasses.dataclass(frozen=True, slots=True)
class DeadMessage:
    """A message that could not be used, with everything needed to judge it and to publish it again."""

    reason: Reason
    explanation: str
    queue: str | None
    exchange: str | None
    routing_key: str | None
    message_type: str | None
    message_id: str | None
    headers: Mapping[str, Any]
    body: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as lists show it. ``problem`` says why its operation could not deal with it."""

    id: int
    kind: str
    status: str
    reason: str
    error_class: str | None
    explanation: str
    client: str | None
    tier: str | None
    template: str | None
    execution_id: UUID | None
    stage: str | None
    step: str | None
    shard: int | None
    epoch: int | None
    attempt: int | None
    queue: str | None
    message_type: str | None
    operation_id: int | None
    again_of: int | None
    problem: str
    note: str
    created_at: datetime.datetime
    resolved_at: datetime.datetime | None
    traceparent: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Contents(Letter):
    """A dead letter with all it holds."""

    exchange: str | None
    routing_key: str | None
    message_id: str | None
    headers: Mapping[str, Json]
    body: bytes | None
    refs: Sequence[Mapping[str, Json]]
    history: Sequence[Mapping[str, Json]]


@dataclasses.dataclass(frozen=True, slots=True)
class Tally:
    """How many dead letters are alike; ``place`` is a stage or a queue."""

    kind: str
    reason: str
    error_class: str
    place: str
    letters: int


@dataclasses.dataclass(frozen=True, slots=True)
class Unread:
    """A message that no reader knew when it came."""

    id: int
    message_type: str
    queue: str
    body: bytes


async def add_message(connection: database.Connection, dead: DeadMessage) -> None:
    """Sets a message aside, whatever it holds; the same message is set aside once."""
    identity = f"{dead.message_id}|{dead.queue}|{dead.reason}|".encode(errors="replace") + dead.body
    subject = subjects.of(dead.queue, dead.body)
    headers = {_storable(name): _storable(value) for name, value in dead.headers.items()}
    mark = headers.get(MARK)
    await connection.execute(
        SQL["insert_message"],
        *(hashlib.sha256(identity).hexdigest(), dead.reason.value, _storable(dead.explanation)),
        *(_storable(dead.queue), _storable(dead.exchange), _storable(dead.routing_key)),
        *(_storable(dead.message_type), _storable(dead.message_id)),
        *(headers, dead.body, subject.client, subject.tier, subject.template, subject.execution_id, subject.stage),
        *(subject.step, subject.shard, subject.epoch, subject.attempt, [dict(ref) for ref in subject.refs]),
        *(tracing.valid(headers.get("traceparent")), mark if isinstance(mark, int) else None),
    )


def _storable(value: Any) -> Any:
    """The value as Postgres can store it, in text and in jsonb."""
    match value:
        case str():
            return subjects.plain(value)
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value


async def add_step(connection: database.Connection, execution: Execution, row: StepExecution) -> None:
    """Sets a failed step aside, with the attempts at it and the documents that it read."""
    identity = f"{row.execution_id}|{row.epoch}|{row.step}|{row.shard}|{row.attempt}".encode()
    crashed = row.error_class is ErrorClass.CRASH_LOOP
    error_class = row.error_class.value if row.error_class else None
    inputs = [] if row.inputs is None else [row.inputs.model_dump(mode="json", exclude_none=True)]
    manifest = [] if row.manifest is None else [row.manifest.model_dump(mode="json", exclude_none=True)]
    last: dict[str, Json] = {
        "kind": "failed",
        "shard": row.shard,
        "attempt": row.attempt,
        "worker": row.worker,
        "error_class": error_class,
        "explanation": row.error,
        "details": dict(row.error_details),
    }
    await connection.execute(
        SQL["insert_step"],
        *(hashlib.sha256(identity).hexdigest(), (Reason.CRASH_LOOP if crashed else Reason.FAILED).value),
        *(row.error or "", error_class, execution.client, execution.tier.value),
        *(execution.template, execution.template_version, row.execution_id, row.stage, row.step, row.shard, row.epoch),
        *(row.attempt, execution.traceparent, [dict(ref) for ref in subjects.refs([*inputs, *manifest])], last),
    )


async def settle_reopened(connection: database.Connection, executions: Sequence[UUID]) -> None:
    """Settles the open letters of steps that these executions, just reopened, do again."""
    await connection.execute(SQL["settle_reopened"], sorted(executions))


async def count_open(connection: database.Connection) -> int:
    """How many dead letters wait for a person."""
    row = await connection.fetchrow(SQL["count_open"])
    return 0 if row is None else int(row["open"])


async def count_newer(connection: database.Connection) -> int:
    """How many messages wait because their reader does not know their version."""
    row = await connection.fetchrow(SQL["count_newer"], Reason.UNKNOWN_VERSION.value)
    return 0 if row is None else int(row["open"])


async def listing(connection: database.Connection, selection: Selection, limit: int) -> list[Letter]:
    """The latest letters that fit, the newest first."""
    return [Letter(**dict(row)) for row in await connection.fetch(SQL["listing"], dict(selection), limit)]


async def contents(
    connection: database.Connection, selection: Selection, after: int = 0, limit: int = 100
) -> list[Contents]:
    """Letters that fit and whose ids are above ``after``, with all they hold, the oldest first."""
    rows = await connection.fetch(SQL["contents"], dict(selection), after, limit)
    return [Contents(**dict(row)) for row in rows]


async def tally(connection: database.Connection, selection: Selection) -> list[Tally]:
    """How many letters fit, the most frequent kinds first."""
    return [Tally(**dict(row)) for row in await connection.fetch(SQL["tally"], dict(selection))]


async def readable(connection: database.Connection, after: int, types: Sequence[str], limit: int) -> list[Unread]:
    """Open jobs and events of these types that no reader knew, which nobody has requeued; ids above ``after``."""
    reasons = [Reason.UNKNOWN_TYPE.value, Reason.UNKNOWN_VERSION.value]
    rows = await connection.fetch(SQL["readable"], after, reasons, list(types), limit)
    return [Unread(**dict(row)) for row in rows]
