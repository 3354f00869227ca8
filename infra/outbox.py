"""Publishes owed after a commit that are no task: replies, finishes and cancels."""

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from contracts import encoding, messages
from contracts.messages import Json
from infra import database, statements

SQL = statements.load("outbox")


@dataclasses.dataclass(frozen=True, slots=True)
class Owed:
    """One publish that is owed until the broker has confirmed it; ``id`` is 0 until it is stored.

    A mandatory one that cannot be routed is recorded and final: whoever waited for it is gone.
    """

    exchange: str
    routing_key: str
    message_type: str
    body: bytes
    correlation_id: str | None = None
    traceparent: str | None = None
    mandatory: bool = True
    execution_id: UUID | None = None
    reply_to: str | None = None
    headers: Mapping[str, Json] = dataclasses.field(default_factory=dict)
    id: int = 0


def owed(
    message: messages.Message,
    *,
    exchange: str = "",
    routing_key: str,
    correlation_id: str | None = None,
    traceparent: str | None = None,
    mandatory: bool = True,
    execution_id: UUID | None = None,
) -> Owed:
    """A message as an owed publish."""
    name = type(message).__name__
    body = encoding.encode(message)
    return Owed(exchange, routing_key, name, body, correlation_id, traceparent, mandatory, execution_id)


async def insert(connection: database.Connection, items: Sequence[Owed]) -> list[Owed]:
    """Stores owed publishes and returns them with their ids."""
    if not items:
        return []
    rows = await connection.fetch(SQL["insert_owed"], [document(item) for item in items])
    return [dataclasses.replace(item, id=row["id"]) for item, row in zip(items, rows, strict=True)]


def document(item: Owed) -> dict[str, Any]:
    """An owed publish as it is stored. A body may be any bytes: what died is published as it was."""
    told = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    return {**told, "body": base64.b64encode(item.body).decode(), "headers": dict(item.headers)}


async def claim(connection: database.Connection, older_than: float, limit: int) -> list[Owed]:
    """Publishes owed for longer than so many seconds, locked until the transaction ends."""
    return [Owed(**dict(row)) for row in await connection.fetch(SQL["claim_owed"], older_than, limit)]


async def delete(connection: database.Connection, ids: Sequence[int]) -> None:
    """Forgets publishes that are done."""
    await connection.execute(SQL["delete_owed"], list(ids))
