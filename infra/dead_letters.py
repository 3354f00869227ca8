"""Messages and steps that need a person, in Postgres."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

from contracts.errors import ErrorClass, Reason
from contracts.executions import Execution, StepExecution
from infra import database, statements

SQL = statements.load("dead_letters")


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


async def add_message(connection: database.Connection, dead: DeadMessage) -> None:
    """Sets a message aside, whatever it holds; the same message is set aside once."""
    identity = f"{dead.message_id}|{dead.queue}|{dead.reason}|".encode() + dead.body
    told = (dead.explanation, dead.queue, dead.exchange, dead.routing_key, dead.message_type, dead.message_id)
    await connection.execute(
        SQL["insert_dead_letter"],
        *("message", hashlib.sha256(identity).hexdigest(), dead.reason.value, *(_storable(text) for text in told)),
        *({_storable(name): _storable(value) for name, value in dead.headers.items()}, dead.body),
        *([None] * 9),
    )


def _storable(value: Any) -> Any:
    """The value as Postgres can store it, which has no U+0000 in text."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


async def add_step(connection: database.Connection, execution: Execution, row: StepExecution) -> None:
    """Sets a failed step aside."""
    identity = f"{row.execution_id}|{row.epoch}|{row.step}|{row.shard}|{row.attempt}".encode()
    crashed = row.error_class is ErrorClass.CRASH_LOOP
    await connection.execute(
        SQL["insert_dead_letter"],
        *("step", hashlib.sha256(identity).hexdigest(), (Reason.CRASH_LOOP if crashed else Reason.FAILED).value),
        *(row.error or "", None, None, None, None, None, {}, None, execution.client, execution.tier.value),
        *(execution.template, row.execution_id, row.stage, row.step, row.shard, row.epoch, row.attempt),
    )


async def count_open(connection: database.Connection) -> int:
    """How many dead letters wait for a person."""
    row = await connection.fetchrow(SQL["count_open"])
    return 0 if row is None else int(row["open"])


async def canary(connection: database.Connection) -> None:
    """Writes and removes a harmless row in the tables that batches write; fails if the database takes no writes."""
    async with connection.transaction():
        await connection.execute(SQL["write_canary"])
        await connection.execute(SQL["remove_canary"])


def replaced_queue(dead: DeadMessage, queue: str) -> DeadMessage:
    """The same letter with the queue from which it first died."""
    return dataclasses.replace(dead, queue=queue)
