"""Stages and clients that are paused, in Postgres."""

import dataclasses
import datetime
from typing import Literal
from uuid import UUID

from infra import database, statements

SQL = statements.load("pauses")

Kind = Literal["stage", "client"]


@dataclasses.dataclass(frozen=True, slots=True)
class Pause:
    """What is paused, by whom, why and since when."""

    kind: Kind
    name: str
    actor: str
    note: str
    created_at: datetime.datetime


async def known(connection: database.Connection, kind: Kind, name: str) -> bool:
    """Whether there is a stage or a client of this name."""
    row = await connection.fetchrow(SQL["known_name"], kind, name)
    return row is not None and bool(row["known"])


async def add(connection: database.Connection, kind: Kind, name: str, actor: str, note: str) -> None:
    """Pauses a stage or a client; one that is paused already keeps its record."""
    await connection.execute(SQL["insert_pause"], kind, name, actor, note)


async def remove(connection: database.Connection, kind: Kind, name: str) -> None:
    """The stage or the client goes on."""
    await connection.execute(SQL["delete_pause"], kind, name)


async def all_of(connection: database.Connection) -> list[Pause]:
    """Everything that is paused."""
    return [Pause(**dict(row)) for row in await connection.fetch(SQL["list_pauses"])]


async def stages(connection: database.Connection) -> tuple[str, ...]:
    """The names of the paused stages."""
    return tuple(pause.name for pause in await all_of(connection) if pause.kind == "stage")


async def to_hold(connection: database.Connection, limit: int) -> list[UUID]:
    """Running executions of paused clients."""
    return [row["id"] for row in await connection.fetch(SQL["to_hold"], limit)]


async def to_release(connection: database.Connection, limit: int) -> list[UUID]:
    """Executions that wait for a client who is paused no more."""
    return [row["id"] for row in await connection.fetch(SQL["to_release"], limit)]
