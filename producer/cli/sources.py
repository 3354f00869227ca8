"""The commands about the feeds that workers read."""

from typing import Annotated
from urllib.parse import urlsplit

import typer

from contracts.errors import FactoryError
from infra import domains, feed_states, registrable, sources
from infra.sources import Source
from producer.cli import output, session

Url = Annotated[str, typer.Argument(help="The feed's address, as the catalogue has it or where it has moved to.")]
State = Annotated[str | None, typer.Option(help=f"Only those that are {', '.join(feed_states.STATES)}.")]


def register(app: typer.Typer, name: str) -> None:
    """Adds the commands."""
    group = typer.Typer(help="List, show and reset the feeds that workers read.", no_args_is_help=True)
    group.command("list")(listing)
    group.command()(show)
    group.command()(reset)
    app.add_typer(group, name=name)


def listing(
    state: State = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 200,
    json: output.Json = False,
) -> None:
    """List the feeds that were ever read, those that do worst first.

    Example: factory sources list --state degraded
    """
    found = session.run(_listing(_known_state(state), limit))
    if json:
        output.document([_told(source) for source in found])
        return
    rows = [
        (
            source.url,
            output.status(source.state),
            output.when(source.state_since),
            output.when(source.succeeded_at),
            output.when(source.next_at),
            source.failures or "",
            _share(source),
            output.size(source.bytes_saved),
        )
        for source in found
    ]
    columns = ("feed", "state", "since", "last success", "next try", "failures", "304", "saved")
    output.table(columns, rows, "no feeds; they appear here once a worker has read one")


def show(url: Url, json: output.Json = False) -> None:
    """Show one feed: its state, why it could not be read last, where it is, and whether its site is on hold."""
    source, held = session.run(_show(url))
    if json:
        output.document({**_told(source), "hold": held})
        return
    facts = {
        "feed": source.url,
        "asked for at": source.address,
        "may move to": source.moved_to,
        "state": f"{source.state} since {output.when(source.state_since)}",
        "known since": output.when(source.first_at),
        "last request": output.when(source.asked_at),
        "last success": output.when(source.succeeded_at),
        "something new": output.when(source.renewed_at),
        "next try": output.when(source.next_at),
        "failures": f"{source.failures} in a row: {source.error}" if source.failures else "",
        "requests": f"{source.requests}, answered with 304: {_share(source) or '0 %'}",
        "without asking": source.remembered,
        "received": output.size(source.bytes_received),
        "saved": output.size(source.bytes_saved),
        "site on hold": "" if held is None else f"until {output.when(held.hold_until)}: {held.reason}",
    }
    output.table(("", ""), [(name, value) for name, value in facts.items() if value != ""], "")


def reset(url: Url, json: output.Json = False) -> None:
    """Have a feed asked for at its next turn: forget its failures, where it has moved to, and the hold of its site.

    What is remembered of it stays, so that it is not sent again unless it has changed.
    """
    released = session.run(_reset(url))
    if json:
        output.document({"url": url, "reset": True, "released": released})
        return
    output.say(f"'{output.safe(url)}' is asked for at its next turn")
    if released is not None:
        output.say(f"the hold of {released} is over")


def _known_state(word: str | None) -> feed_states.State | None:
    found = next((state for state in feed_states.STATES if state == word), None)
    if word is not None and found is None:
        raise FactoryError(f"there is no state '{word}'; give one of: {', '.join(feed_states.STATES)}")
    return found


def _told(source: Source) -> dict[str, object]:
    return {**output.plain(source), "unchanged_share": source.unchanged_share}


def _share(source: Source) -> str:
    return "" if source.unchanged_share is None else f"{source.unchanged_share:.0%}"


async def _listing(state: feed_states.State | None, limit: int) -> list[Source]:
    async with session.tables(session.known()) as connection:
        return await sources.listing(connection, state, limit)


async def _show(url: str) -> tuple[Source, domains.Held | None]:
    async with session.tables(session.known()) as connection:
        source = await sources.find(connection, url)
        if source is None:
            raise _unknown(url)
        held = {each.domain: each for each in await domains.held(connection)}
        return source, held.get(_domain(source))


async def _reset(url: str) -> str | None:
    async with session.tables(session.known()) as connection, connection.transaction():
        source = await sources.find(connection, url)
        if source is None or not await sources.forget(connection, source.url):
            raise _unknown(url)
        domain = _domain(source)
        return domain if await domains.release(connection, domain) else None


def _domain(source: Source) -> str:
    return registrable.domain(urlsplit(source.address).hostname or "")


def _unknown(url: str) -> FactoryError:
    return FactoryError(f"no worker has read a feed at '{url}'; see 'factory sources list'")
