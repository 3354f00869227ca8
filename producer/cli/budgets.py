"""The commands about money: what was spent, what is left, and how much it may be."""

import dataclasses
import math
import os
import pwd
import uuid
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import typer

from contracts.errors import FactoryError
from contracts.states import ExecutionStatus, PauseReason
from infra import budgets
from producer.cli import output, session

MONTHS = 12
ENTRIES = 1000
NO_LIMIT = "none"

Amount = Annotated[str, typer.Argument(metavar="USD", help=f"US dollars, such as 12.50, or '{NO_LIMIT}' for no limit.")]


def register(app: typer.Typer, name: str) -> None:
    """Adds the commands."""
    group = typer.Typer(help="Show and set what clients and executions may spend.", no_args_is_help=True)
    group.command()(show)
    group.command("set")(set_client)
    app.add_typer(group, name=name)


def micro(text: str) -> int | None:
    """An amount as a person wrote it, in millionths of a US dollar, None for no limit; raises BadParameter."""
    if text.strip().lower() == NO_LIMIT:
        return None
    try:
        dollars = float(text.strip().removeprefix("$"))
    except ValueError:
        dollars = math.nan
    if not 0 <= dollars <= budgets.LARGEST / budgets.DOLLAR:
        raise typer.BadParameter(
            f"'{text}' is no amount; give US dollars from 0 to a thousand million, such as 12.50, or '{NO_LIMIT}'",
            param_hint="USD",
        )
    return round(dollars * budgets.DOLLAR)


@dataclasses.dataclass(frozen=True, slots=True)
class OfClient:
    """A client's money: the present month and those before."""

    client: budgets.ClientAccount
    months: Sequence[budgets.Month]


@dataclasses.dataclass(frozen=True, slots=True)
class OfExecution:
    """An execution's money, with the ledger's last lines about it."""

    execution: budgets.ExecutionAccount
    ledger: Sequence[budgets.Entry]


def show(
    subject: Annotated[str, typer.Argument(metavar="CLIENT|EXECUTION", help="A client's id or an execution's.")],
    json: output.Json = False,
) -> None:
    """Show what a client spent this month, or an execution in all, and what is left. Amounts in JSON are in millionths.

    Examples: factory budgets show acme · factory budgets show 0190c3f2-… --json
    """
    found = session.run(_show(subject))
    if json:
        output.document(found)
    elif isinstance(found, OfClient):
        _show_client(found)
    else:
        _show_execution(found)


async def _show(subject: str) -> OfClient | OfExecution:
    async with session.tables(session.known()) as connection:
        execution_id = _identifier(subject)
        if execution_id is not None:
            execution = await budgets.of_execution(connection, execution_id)
            if execution is not None:
                return OfExecution(execution, await budgets.entries(connection, execution_id, ENTRIES))
        client = await budgets.of_client(connection, subject)
        if client is None:
            raise FactoryError(
                f"there is no client and no execution '{subject}'; "
                "see 'factory clients list' and 'factory executions list'"
            )
        return OfClient(client, await budgets.months(connection, subject, MONTHS))


def _identifier(text: str) -> UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _show_client(found: OfClient) -> None:
    account = found.client
    output.say(f"client {account.client}, {account.month} (UTC): {_balance(account)}")
    columns = ("month", "spent", "of that overrun", "reserved")
    rows = [
        (m.month, budgets.dollars(m.spent), budgets.dollars(m.overrun), budgets.dollars(m.reserved))
        for m in found.months
    ]
    output.table(columns, rows, "no paid call yet")


def _show_execution(found: OfExecution) -> None:
    account = found.execution
    output.say(f"execution {account.id} of client {account.client}, {account.status}: {_balance(account)}")
    rows = [
        (
            output.when(entry.at),
            f"{entry.kind}, expired" if entry.expired else entry.kind,
            f"{entry.step}/{entry.shard}" if entry.shard else entry.step,
            entry.attempt,
            budgets.dollars(entry.amount),
            budgets.dollars(entry.spent),
            entry.purpose,
        )
        for entry in found.ledger
    ]
    output.table(("at", "entry", "step", "attempt", "amount", "spent", "for"), rows, "no paid call yet")


def _balance(account: budgets.ClientAccount | budgets.ExecutionAccount) -> str:
    used = f"{budgets.dollars(account.spent)} spent, {budgets.dollars(account.reserved)} reserved"
    if account.overrun:
        used += f", {budgets.dollars(account.overrun)} of it more than was reserved"
    if account.budget is None:
        return f"{used}, no limit"
    left = max(account.budget - account.spent - account.reserved, 0)
    return f"{used}, {budgets.dollars(left)} left of {budgets.dollars(account.budget)}"


def set_client(
    client: Annotated[str, typer.Argument(help="The client's id.")], usd: Amount, json: output.Json = False
) -> None:
    """Set what a client may spend in a month (UTC); it holds at once, for the present month as well.

    Examples: factory budgets set acme 250 · factory budgets set acme none
    """
    account = session.run(_set_client(client, micro(usd)))
    if json:
        output.document(account)
    else:
        output.say(f"client {account.client}, {account.month} (UTC): {_balance(account)}")


async def _set_client(client: str, budget: int | None) -> budgets.ClientAccount:
    async with session.tables(session.known()) as connection:
        await budgets.set_client(connection, client, budget)
        account = await budgets.of_client(connection, client)
        if account is None:
            raise FactoryError(f"there is no client '{client}'; see 'factory clients list'")
        return account


def set_execution(
    execution: Annotated[UUID, typer.Argument(help="The execution's id.")], usd: Amount, json: output.Json = False
) -> None:
    """Set what an execution may spend in all. One that is paused for its budget then waits to be resumed.

    Example: factory executions budget 0190c3f2-… 2.50
    """
    account = session.run(_set_execution(execution, micro(usd)))
    if json:
        output.document(account)
        return
    output.say(f"execution {account.id}: {_balance(account)}")
    if (account.status, account.pause_reason) == (ExecutionStatus.PAUSED, PauseReason.BUDGET):
        output.note(f"it is paused for its budget; 'factory executions resume {account.id}' lets it go on")


def _person() -> str:
    """Who is at the keyboard, for the record: the account of the operating system."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


async def _set_execution(execution_id: UUID, budget: int | None) -> budgets.ExecutionAccount:
    async with session.tables(session.known()) as connection:
        await budgets.set_execution(connection, execution_id, budget, _person())
        account = await budgets.of_execution(connection, execution_id)
        if account is None:
            raise FactoryError(f"there is no execution {execution_id}; see 'factory executions list'")
        return account
