"""What had to be put right between database and broker, counted by kind. Normally nothing."""

import dataclasses
import datetime
from typing import Literal

from infra import database, statements

SQL = statements.load("repairs")

Kind = Literal["exchange", "queue", "binding", "task"]


@dataclasses.dataclass(frozen=True, slots=True)
class Repair:
    """How many repairs of a kind were made since the factory exists, and what the last one was about."""

    kind: str
    number: int
    last_at: datetime.datetime
    detail: str


async def count(connection: database.Connection, kind: Kind, number: int, detail: str) -> None:
    """Adds to the repairs of a kind."""
    await connection.execute(SQL["count_repair"], kind, number, detail[:500])


async def listing(connection: database.Connection) -> list[Repair]:
    """The repairs by kind; kinds that never were needed are left out."""
    rows = await connection.fetch(SQL["list_repairs"])
    return [Repair(row["kind"], row["number"], row["last_at"], row["detail"]) for row in rows]
