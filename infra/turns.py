"""Turns at things that all workers together may use only so much of: so many at once, so many a minute."""

import dataclasses
from uuid import UUID

from infra import database, statements

SQL = statements.load("turns")


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What may be under way at the same time, and begin within a minute; 0 a minute is no limit."""

    at_once: int
    requests: float
    tokens: float


@dataclasses.dataclass(frozen=True, slots=True)
class Grant:
    """Whether a turn was booked, and the seconds to wait: before it begins, or at least before asking again."""

    granted: bool
    wait: float


async def take(
    connection: database.Connection, turn: UUID, model: str, limits: Limits, tokens: float, patience: float, hold: float
) -> Grant:
    """Books a turn of so many tokens that begins within ``patience`` seconds and is held for ``hold`` more at most.

    Where it is not granted and ``wait`` is 0, as many as are allowed are under way.
    """
    (row,) = await connection.fetch(
        SQL["take"], turn, model, limits.at_once, limits.requests, limits.tokens, tokens, patience, hold
    )
    return Grant(granted=row["granted"], wait=row["wait"])


async def give_back(connection: database.Connection, turn: UUID, requests: float, tokens: float) -> None:
    """Ends a turn, of which so much was not used."""
    await connection.execute(SQL["give_back"], turn, requests, tokens)


async def leave_alone(connection: database.Connection, model: str, seconds: float) -> None:
    """Grants nobody a turn at the model for so many seconds."""
    await connection.execute(SQL["leave_alone"], model, seconds)
