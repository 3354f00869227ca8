"""The commands about clients."""

from typing import Annotated

import typer

from contracts.errors import FactoryError
from contracts.tiers import Tier
from infra import database, jobs, views
from producer.cli import output, session, steering

UNIQUE_VIOLATION = "23505"


def register(app: typer.Typer, name: str) -> None:
    """Adds the commands."""
    group = typer.Typer(help="Add, list and pause clients.", no_args_is_help=True)
    group.command("list")(listing)
    group.command()(add)
    steering.register_clients(group)
    app.add_typer(group, name=name)


def add(
    client: Annotated[str, typer.Argument(help="The client's id, which jobs name.")],
    name: Annotated[str, typer.Option(help="How people call it; as it was, or the id, if left out.")] = "",
    tier: Annotated[Tier, typer.Option(help="Its subscription.")] = Tier.BASIC,
    amqp_user: Annotated[str | None, typer.Option(help="The broker user whose jobs count as this client's.")] = None,
    budget: Annotated[float | None, typer.Option(min=0, help="US dollars a month; no limit if left out.")] = None,
    json: output.Json = False,
) -> None:
    """Add a client, or change it; what is left out stays as it was.

    Example: factory clients add acme --name "Acme Ltd" --tier premium --amqp-user acme
    """
    if not client.strip() or len(client) > 200:
        raise typer.BadParameter("give an id of 1 to 200 characters")
    micro = None if budget is None else round(budget * 1_000_000)
    session.run(_add(client, name or None, tier, amqp_user, micro))
    if json:
        output.document({"id": client, "tier": tier})
    else:
        output.say(f"client '{client}' has tier {tier}")


async def _add(client: str, name: str | None, tier: Tier, amqp_user: str | None, budget: int | None) -> None:
    async with session.tables(session.known()) as connection:
        try:
            await jobs.save_client(connection, client, name, tier, amqp_user, budget)
        except database.Failure as error:
            if error.sqlstate != UNIQUE_VIOLATION:
                raise
            raise FactoryError(f"broker user '{amqp_user}' belongs to another client; give each its own") from error


def listing(json: output.Json = False) -> None:
    """List all clients."""
    found = session.run(_listing())
    if json:
        output.document(found)
        return
    rows = [(c.id, c.name, c.tier, c.amqp_user or "", "" if c.active else "inactive") for c in found]
    output.table(("client", "name", "tier", "broker user", ""), rows, "no clients; add one with 'factory clients add'")


async def _listing() -> list[views.Client]:
    async with session.tables(session.known()) as connection:
        return await views.clients(connection)
