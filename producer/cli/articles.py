"""The command that says why each article is in a report, or is not."""

from typing import Annotated
from uuid import UUID

import typer

from contracts.errors import FactoryError
from infra.settings import Settings
from producer import choices
from producer.choices import Choice
from producer.cli import output, session, storing


def register(app: typer.Typer, name: str) -> None:
    """Adds the command."""
    app.command(name)(articles)


def articles(
    execution: Annotated[UUID, typer.Argument(help="The execution's id.")],
    words: Annotated[str, typer.Argument(help="Words that title, source or address must hold.")] = "",
    decision: Annotated[
        str | None, typer.Option(help="Only these: chosen, or a reason such as duplicate, quota or irrelevant.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many lines to print at most; --json has all.")] = 100,
    json: output.Json = False,
) -> None:
    """Show why each article that an execution judged was chosen or left out.

    Examples: factory articles 0190c3f2-… "solar farm" · factory articles 0190c3f2-… --decision quota
    """
    found = session.run(_found(session.known(), execution))
    known = {choice.decision for choice in found}
    if decision is not None and decision not in known:
        raise FactoryError(f"no article is '{decision}'; there are {', '.join(sorted(known)) or 'no articles'}")
    shown = [choice for choice in found if decision in (None, choice.decision) and _holds(choice, words)]
    if json:
        output.document(shown)
        return
    rows = [(choice.decision, choice.title or choice.url, choice.source, choice.why) for choice in shown[:limit]]
    output.table(("decision", "article", "source", "why"), rows, "no such article was judged")
    if len(shown) > limit:
        output.note(f"{len(shown) - limit:,} more; see --limit")


async def _found(configured: Settings, execution_id: UUID) -> list[Choice]:
    async with session.tables(configured) as connection, storing.store(configured) as store:
        return await choices.choices(connection, store, execution_id)


def _holds(choice: Choice, words: str) -> bool:
    text = f"{choice.title} {choice.source} {choice.url}".casefold()
    return all(word in text for word in words.casefold().split())
