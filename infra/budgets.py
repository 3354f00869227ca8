"""The ledger of what paid calls cost: stages reserve before a call, post after it, and void what was not made.

All amounts are in millionths of a US dollar.
"""

import asyncio
import dataclasses
import datetime
import operator
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self
from uuid import UUID

import structlog

from contracts import messages
from contracts.errors import BudgetError, OutageError, PermanentError, TransientError
from contracts.stages import Usage
from infra import database, faults, identifiers, payments, statements

SQL = statements.load("budgets")

log = structlog.get_logger()

DOLLAR = 1_000_000
LARGEST = 1_000_000_000 * DOLLAR

PATIENCE = 20.0
"""Seconds for which a database that is away is asked again: a call that cannot be posted is paid and counts in full."""

PURPOSE_CHARACTERS = 200
GOODBYE_SECONDS = 3.0
PAUSE_SECONDS = 0.2

GRACE = 30.0
"""Seconds beyond the attempt's own time-out until a reservation expires."""


def dollars(amount: int) -> str:
    """The amount as people write it, to the last digit that is not zero."""
    whole, rest = divmod(abs(amount), DOLLAR)
    cents, further = f"{rest:06}"[:2], f"{rest:06}"[2:].rstrip("0")
    return f"{'-' if amount < 0 else ''}${whole:,}.{cents}{further}"


class Ledger:
    """The ledger as a worker reaches it."""

    def __init__(self, pool: database.Pool) -> None:
        self._pool = pool

    async def ask(self, statement: str, *arguments: object) -> database.Row:
        """The ledger's answer; the same may be asked again, since each question is settled by its reservation's id.

        Raises TransientError if there is none.
        """
        until = time.monotonic() + PATIENCE
        while True:
            try:
                async with self._pool.acquire() as connection:
                    return (await connection.fetch(statement, *arguments))[0]
            except (database.Failure, *database.UNAVAILABLE) as error:
                if isinstance(error, database.DATA_ERRORS) or time.monotonic() > until:
                    raise OutageError(f"the budget ledger does not answer: {error!r}") from error
            await asyncio.sleep(PAUSE_SECONDS)


class Budget:
    """What one attempt at a task may spend."""

    def __init__(self, pool: database.Pool, task: messages.StageTask, remaining: Callable[[], float]) -> None:
        """``remaining`` gives the seconds left of the attempt."""
        self._ledger = Ledger(pool)
        self._key = task.key
        self._stage = task.stage
        self._task = task.context
        self._remaining = remaining

    async def reserve(self, amount: int, purpose: str) -> "Reservation":
        """Money for one paid call, set aside in the accounts of the execution and of the client's month.

        Raises BudgetError that names what is left, and TransientError if the attempt is over or the ledger is away.
        """
        if not 0 < operator.index(amount) <= LARGEST:
            raise PermanentError(
                f"the stage reserves {amount!r} for '{purpose}'; give 1 to {LARGEST} millionths of a US dollar"
            )
        if self._task.degraded:
            raise BudgetError(
                f"'{purpose}' is a paid call, and this attempt is to go without; look at ctx.task.degraded"
            )
        reservation = identifiers.new()
        purpose = "".join(character if character.isprintable() else " " for character in purpose[:PURPOSE_CHARACTERS])
        key, seconds = self._key, max(self._remaining(), 0.0) + GRACE
        row = await self._ledger.ask(
            SQL["reserve"],
            *(reservation, self._task.client, key.execution_id, key.epoch, key.step, key.shard, key.attempt),
            *(purpose, amount, seconds),
        )
        if row["outcome"] != "granted":
            raise self._refusal(row["outcome"], row["available"], amount, purpose)
        return Reservation(self._ledger, reservation, amount, purpose, self._stage)

    def _refusal(self, outcome: str, available: int | None, amount: int, purpose: str) -> Exception:
        left = available or 0
        details = {"left": str(left), "wanted": str(amount), "account": outcome}
        wanted = f"'{purpose}' may cost {dollars(amount)}"
        match outcome:
            case "execution":
                remedy = f"raise its budget with 'factory executions budget {self._key.execution_id} USD'"
                return BudgetError(f"{wanted} and the execution has {dollars(left)} left; {remedy}", details)
            case "client":
                client = self._task.client
                remedy = f"raise its budget with 'factory budgets set {client} USD'"
                return BudgetError(
                    f"{wanted} and client '{client}' has {dollars(left)} left this month; {remedy}", details
                )
            case "over":
                return TransientError(f"{wanted}, and this attempt is over; nothing is paid for it any more")
        return PermanentError(f"{wanted} and was refused: {outcome}")


class Reservation:
    """Money set aside for one paid call.

    As a context manager it gives the money back if the call was never begun, and leaves it where it is if nobody knows
    what became of the call; then it counts as spent.
    """

    def __init__(self, ledger: Ledger, id: UUID, amount: int, purpose: str, stage: str) -> None:
        self.id = id
        self.amount = amount
        self.purpose = purpose
        self._ledger = ledger
        self._stage = stage
        self._begun = False
        self._resolved = False

    def begin(self) -> None:
        """The call goes out now: from here on it may cost, whatever happens."""
        self._begun = True

    async def post(self, actual: int, usage: Usage | None = None) -> None:
        """Records what the call cost, be it more than was reserved. Raises TransientError if the ledger is away."""
        if not 0 <= operator.index(actual) <= LARGEST:
            raise PermanentError(
                f"'{self.purpose}' is said to have cost {actual!r}; give 0 to {LARGEST} millionths of a US dollar"
            )
        if not self._begun:
            raise PermanentError(f"'{self.purpose}' is posted and was not begun; call begin() before the paid call")
        self._resolve(await self._ledger.ask(SQL["post"], self.id, actual), ("posted", "late"))
        payments.paid(self._stage, actual / DOLLAR, usage)

    async def void(self) -> None:
        """Gives the money back: the call was not made, or is known to have cost nothing."""
        self._resolve(await self._ledger.ask(SQL["void"], self.id), ("voided",))

    def _resolve(self, row: database.Row, good: tuple[str, ...]) -> None:
        if row["outcome"] not in good:
            raise PermanentError(f"the reservation for '{self.purpose}' was resolved otherwise before")
        self._resolved = True
        if row["outcome"] == "late":
            log.warning("budget_posted_late", reservation=str(self.id), purpose=self.purpose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._begun or self._resolved:
            return
        if error is None:
            await self.void()
            return
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self.void()
        except (TransientError, TimeoutError) as fault:
            # The error that ends the work says more; what is left open is counted as spent.
            log.warning("budget_not_voided", reservation=str(self.id), purpose=self.purpose, error=faults.told(fault))


# --- What the coordinator does ---------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Expired:
    """A reservation that nobody resolved."""

    reservation_id: UUID
    execution_id: UUID
    step: str
    amount: int


async def expire(connection: database.Connection, limit: int) -> list[Expired]:
    """Counts as spent what runs left open that are over or whose time is up; returns what was closed.

    Each in a transaction of its own, so that no two accounts of different clients are ever locked at once.
    """
    rows = await connection.fetch(SQL["left_open"], limit)
    found = [Expired(row["reservation_id"], row["execution_id"], row["step"], row["amount"]) for row in rows]
    return [item for item in found if await _expired(connection, item)]


async def _expired(connection: database.Connection, item: Expired) -> bool:
    return any(row["expired"] for row in await connection.fetch(SQL["expire"], item.reservation_id))


# --- What people see and set -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class ExecutionAccount:
    """The money of an execution; a budget of None is no limit. ``overrun`` is a part of what is spent."""

    id: UUID
    client: str
    status: str
    pause_reason: str | None
    budget: int | None
    reserved: int
    spent: int
    overrun: int


@dataclasses.dataclass(frozen=True, slots=True)
class ClientAccount:
    """The money of a client in the present month (UTC); a budget of None is no limit."""

    client: str
    month: str
    budget: int | None
    reserved: int
    spent: int
    overrun: int


@dataclasses.dataclass(frozen=True, slots=True)
class Month:
    """What a client used in a month (UTC)."""

    month: str
    reserved: int
    spent: int
    overrun: int


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A line of the ledger: ``reserved`` and ``spent`` say by how much it moved the accounts."""

    at: datetime.datetime
    kind: str
    reservation_id: UUID
    step: str
    shard: int
    epoch: int
    attempt: int
    purpose: str
    amount: int
    reserved: int
    spent: int
    expired: bool


async def of_execution(connection: database.Connection, execution_id: UUID) -> ExecutionAccount | None:
    """The account of an execution, None if there is no such execution."""
    row = await connection.fetchrow(SQL["execution_account"], execution_id)
    return None if row is None else ExecutionAccount(**dict(row))


async def of_client(connection: database.Connection, client: str) -> ClientAccount | None:
    """The account of a client in the present month, None if there is no such client."""
    row = await connection.fetchrow(SQL["client_account"], client)
    return None if row is None else ClientAccount(**dict(row))


async def months(connection: database.Connection, client: str, limit: int) -> list[Month]:
    """The last months in which the client had paid calls, the newest first."""
    return [Month(**dict(row)) for row in await connection.fetch(SQL["client_months"], client, limit)]


async def entries(connection: database.Connection, execution_id: UUID, limit: int) -> list[Entry]:
    """The last lines of the ledger about an execution, the oldest first."""
    return [Entry(**dict(row)) for row in await connection.fetch(SQL["entries"], execution_id, limit)]


async def set_client(connection: database.Connection, client: str, budget: int | None) -> bool:
    """What the client may spend in a month from now on, None for no limit; whether there is such a client."""
    return await connection.fetchrow(SQL["set_client_budget"], client, budget) is not None


async def set_execution(connection: database.Connection, execution_id: UUID, budget: int | None, actor: str) -> bool:
    """What the execution may spend in all, None for no limit; on record. Whether there is such an execution."""
    return await connection.fetchrow(SQL["set_execution_budget"], execution_id, budget, actor) is not None
