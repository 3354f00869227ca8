"""What is done with dead letters: operations over many of them, carried out letter by letter, each on record."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Literal
from uuid import UUID

from contracts.errors import FactoryError
from contracts.messages import Json, TaskKey
from infra import database, statements
from infra.dead_letters import Selection

SQL = statements.load("dead_operations")

Action = Literal["requeue", "discard"]
Status = Literal["running", "canary", "done", "stopped", "canary_failed"]


class NothingSelectedError(FactoryError):
    """No open letter fits the filter, or other operations have them all."""


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants done with the letters that fit: at most ``rate`` a second, ``canary`` of them first."""

    action: Action
    actor: str
    selection: Selection
    note: str = ""
    canary: int = 0
    rate: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """An operation as its carrier holds it; ``proved`` once its canary has come out well."""

    id: int
    action: Action
    status: Status
    actor: str
    note: str
    canary: int
    rate: float | None
    proved: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """An operation and how far it has come: ``left`` are not dealt with yet, ``problems`` could not be."""

    id: int
    action: Action
    status: Status
    actor: str
    note: str
    filter: Mapping[str, Json]
    canary: int
    rate: float | None
    total: int
    created_at: datetime.datetime
    proved_at: datetime.datetime | None
    stopped_by: str | None
    finished_at: datetime.datetime | None
    done: int
    problems: int
    left: int


@dataclasses.dataclass(frozen=True, slots=True)
class Due:
    """A letter that is to be dealt with."""

    id: int
    kind: str
    execution_id: UUID | None
    epoch: int | None
    step: str | None
    shard: int | None
    attempt: int | None
    queue: str | None
    exchange: str | None
    routing_key: str | None
    message_type: str | None
    headers: Mapping[str, Json]
    body: bytes | None
    traceparent: str | None

    @property
    def key(self) -> TaskKey | None:
        """The attempt that a step letter is about."""
        if self.execution_id is None or self.step is None or self.epoch is None or self.attempt is None:
            return None
        return TaskKey(self.execution_id, self.epoch, self.step, self.shard or 0, self.attempt)


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """How many letters of a canary died again, and how many are under way still."""

    badly: int
    waiting: int


async def start(connection: database.Connection, order: Order) -> int:
    """Records an operation and gives it the open letters that fit and that no active operation has.

    Returns its id; raises NothingSelectedError, and records nothing, if there are none.
    """
    selection = dict(order.selection)
    async with connection.transaction():
        await connection.execute(SQL["lock_claims"])
        row = await connection.fetchrow(
            SQL["insert_operation"], order.action, order.actor, order.note, selection, order.canary, order.rate
        )
        operation = 0 if row is None else int(row["id"])
        if not await _claim(connection, operation, selection):
            raise NothingSelectedError(
                "no open dead letter fits, or other operations have them; see 'factory dead list' and "
                "'factory dead operations'"
            )
    return operation


async def _claim(connection: database.Connection, operation: int, selection: Mapping[str, Json]) -> int:
    row = await connection.fetchrow(SQL["claim_letters"], operation, {**selection, "status": "open"})
    return 0 if row is None else int(row["total"])


async def active(connection: database.Connection) -> list[tuple[int, Status]]:
    """The operations that are to be carried out, and how each stands."""
    return [(row["id"], row["status"]) for row in await connection.fetch(SQL["active"])]


async def take(connection: database.Connection, operation: int, status: Status) -> Work | None:
    """The operation, locked until the transaction ends; None if it stands otherwise, rests, or another has it."""
    row = await connection.fetchrow(SQL["take_operation"], operation, status)
    return None if row is None else Work(**dict(row))


async def next_letter(connection: database.Connection, operation: int) -> Due | None:
    """The first letter that was not dealt with yet; whoever holds the operation holds its letters."""
    row = await connection.fetchrow(SQL["next_letter"], operation)
    return None if row is None else Due(**dict(row))


async def owes(connection: database.Connection, operation: int) -> bool:
    """Whether a message of one of its letters is still to be published."""
    row = await connection.fetchrow(SQL["owes"], operation)
    return row is not None and bool(row["owes"])


async def tried(connection: database.Connection, operation: int, limit: int) -> int:
    """How many letters were dealt with, counted up to ``limit``."""
    row = await connection.fetchrow(SQL["tried"], operation, limit)
    return 0 if row is None else int(row["letters"])


async def discard(connection: database.Connection, operation: int, limit: int, note: str) -> int:
    """Discards up to so many of the letters that were not dealt with; returns how many."""
    row = await connection.fetchrow(SQL["discard_letters"], operation, limit, note)
    return 0 if row is None else int(row["letters"])


async def resolve(
    connection: database.Connection, letter: int, status: Literal["requeued", "discarded"], note: str
) -> None:
    """Notes that a letter has been dealt with."""
    await connection.execute(SQL["resolve_letter"], letter, status, note)


async def note_problem(connection: database.Connection, letter: int, problem: str) -> None:
    """Notes why a letter could not be dealt with; it stays open."""
    await connection.execute(SQL["note_problem"], letter, problem)


async def pace(connection: database.Connection, operation: int) -> None:
    """Lets the operation rest after a letter as long as its rate asks for."""
    await connection.execute(SQL["pace"], operation)


async def move(connection: database.Connection, operation: int, status: Status) -> None:
    """Notes how the operation stands from now on."""
    await connection.execute(SQL["move_operation"], operation, status)


async def verdict(connection: database.Connection, operation: int, settle: float) -> Verdict:
    """What became of the letters that were dealt with; a task counts as used after ``settle`` seconds at the least."""
    row = await connection.fetchrow(SQL["verdicts"], operation, settle)
    return Verdict(0, 0) if row is None else Verdict(row["badly"], row["waiting"])


async def reopen(connection: database.Connection, letters: Sequence[int], problem: str) -> None:
    """Opens letters again whose messages could not be published."""
    await connection.execute(SQL["reopen"], list(letters), problem)


async def landed(connection: database.Connection, letters: Sequence[int]) -> None:
    """Notes that a coordinator has used these messages after their requeueing, whatever came of it."""
    await connection.execute(SQL["landed"], list(letters))


async def listing(connection: database.Connection, operation: int | None = None, limit: int = 50) -> list[Operation]:
    """The latest operations, the newest first, or the one of this id."""
    rows = await connection.fetch(SQL["listing"], operation, limit)
    return [Operation(**dict(row)) for row in rows]


async def stop(connection: database.Connection, operation: int, actor: str) -> bool:
    """Stops an operation; what it has not dealt with stays open. False if it was over or is not there."""
    return await connection.fetchrow(SQL["stop"], operation, actor) is not None


async def resume(connection: database.Connection, operation: int) -> bool:
    """Goes on with an operation that was stopped; False if it was not stopped."""
    return await connection.fetchrow(SQL["resume"], operation) is not None
