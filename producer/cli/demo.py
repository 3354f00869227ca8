"""The command that shows everything at once."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer

from infra import settings
from producer import collection, demonstration, watching
from producer.cli import jobs, live, output, session

TOPIC = "battery recycling"


def register(app: typer.Typer, name: str) -> None:
    """Adds the command."""
    app.command(name)(demo)


def demo(
    topic: Annotated[str, typer.Option(help="What the report is about.")] = TOPIC,
    feeds: Annotated[Path | None, typer.Option(help="A folder of feeds, all of which are read.")] = None,
    template: Annotated[str, typer.Option(help="The template to run.")] = demonstration.TEMPLATE,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the factory up afterwards.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the report; .factory/reports/… if left out.")] = None,
    json: output.Json = False,
) -> None:
    """Run the whole pipeline on feeds served on loopback and show its report.

    Uses the factory that is up, or brings one up for as long as it takes. Without --feeds the sample feeds of the
    project are read.

    Examples: factory demo · factory demo --topic "energy storage" --keep ·
    factory demo --feeds ~/feeds --topic "artificial intelligence" --json
    """
    served = collection.samples() if feeds is None else collection.of_folder(feeds)
    request = demonstration.Request(topic, served, template, everything=feeds is not None, keep=keep, out=out)
    console = output.silent() if json else output.stdout()

    async def show(looks: AsyncIterator[watching.Progress]) -> watching.Progress:
        return await live.show(looks, console)

    outcome = session.run(demonstration.run(settings.surroundings(), request, show, output.note))
    if json:
        output.document(outcome)
    else:
        _told(outcome)
    if outcome.status not in jobs.GOOD:
        raise typer.Exit(1)


def _told(outcome: demonstration.Outcome) -> None:
    rows = [
        (path, "" if read.entries is None else read.entries, read.error or "") for path, read in outcome.feeds.items()
    ]
    output.table(("feed", "entries", "why not"), rows, "no feeds")
    failed = sum(read.error is not None for read in outcome.feeds.values())
    entries = sum(read.entries or 0 for read in outcome.feeds.values())
    output.say(f"{len(rows)} feeds, {failed} of them without entries; {entries} entries, {outcome.articles} articles")
    broker, whole = outcome.bytes["broker"], outcome.bytes["documents"]
    share = f", {broker / whole:.1%} of {output.size(whole)} of documents" if whole else ""
    output.say(f"{output.size(broker)} through the broker{share}; largest message {outcome.largest_message} bytes")
    for form, path in outcome.report.items():
        output.say(f"{form:>9}  {path}")
