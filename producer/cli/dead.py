"""The commands about dead letters: look at them, requeue them, discard them, and see who did what."""

import contextlib
import json as json_text
import sys
from pathlib import Path
from typing import Annotated, TextIO

import typer

from contracts.errors import FactoryError
from infra import dead_letters, dead_operations
from infra.dead_letters import Contents, Letter, Tally
from infra.dead_operations import Action, Operation
from producer import letters
from producer.cli import carrying, filters, output, session
from producer.cli import letters as shown
from producer.cli.filters import (
    Filter,
    OfClass,
    OfClient,
    OfExecution,
    OfKind,
    OfStage,
    OfTemplate,
    OfTier,
    Since,
    Status,
    Until,
    WithReason,
)

Ids = Annotated[list[int] | None, typer.Argument(help="Letters by id; without ids the options choose.")]
InStatus = Annotated[Status, typer.Option("--status", help="Only those in this status.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which would be chosen.")]
Canary = Annotated[int, typer.Option(min=0, help="So many first; the rest only if they come out well.")]
Rate = Annotated[float | None, typer.Option(min=0.01, max=10_000, help="At most so many a second.")]
Note = Annotated[str, typer.Option(help="Why, for the record.")]
Everything = Annotated[bool, typer.Option("--all", help="Every open letter, where nothing else chooses.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return at once; coordinators carry it out.")]
Number = Annotated[int, typer.Argument(help="The operation's number.")]


def register(app: typer.Typer, name: str) -> None:
    """Adds the commands."""
    group = typer.Typer(help="Inspect, requeue and discard dead letters.", no_args_is_help=True)
    group.command("list")(listing)
    for command in (show, requeue, discard, export, operations, stop, resume):
        group.command()(command)
    app.add_typer(group, name=name)


def listing(
    stage: OfStage = None,
    reason: WithReason = None,
    error_class: OfClass = None,
    tier: OfTier = None,
    client: OfClient = None,
    template: OfTemplate = None,
    execution: OfExecution = None,
    kind: OfKind = None,
    since: Since = None,
    until: Until = None,
    status: InStatus = Status.OPEN,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 50,
    json: output.Json = False,
) -> None:
    """List dead letters, the newest first.

    Example: factory dead list --stage feed_fetcher --reason failed --since 2d
    """
    chosen = Filter(stage, reason, error_class, tier, client, template, execution, kind, since, until)
    found = session.run(_listing(chosen, status, limit))
    if json:
        output.document([shown.document(letter) for letter in found])
        return
    shown.listing(found)
    if len(found) == limit:
        output.note(f"the latest {limit}; see more with --limit")


async def _listing(chosen: Filter, status: Status, limit: int) -> list[Letter]:
    async with session.tables(session.known()) as connection:
        return await dead_letters.listing(connection, await chosen.selection(connection, status), limit)


def show(
    letter: Annotated[int, typer.Argument(help="The letter's id.")],
    json: output.Json = False,
) -> None:
    """Show one dead letter: why, the message or the step, its documents, every attempt."""
    found = session.run(_find(letter))
    if json:
        output.document(shown.document(found))
    else:
        shown.show(found)


async def _find(letter: int) -> Contents:
    async with session.tables(session.known()) as connection:
        return await letters.find(connection, letter)


def requeue(
    ids: Ids = None,
    stage: OfStage = None,
    reason: WithReason = None,
    error_class: OfClass = None,
    tier: OfTier = None,
    client: OfClient = None,
    template: OfTemplate = None,
    execution: OfExecution = None,
    kind: OfKind = None,
    since: Since = None,
    until: Until = None,
    everything: Everything = False,
    canary: Canary = 0,
    rate: Rate = None,
    note: Note = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    no_wait: NoWait = False,
    json: output.Json = False,
) -> None:
    """Requeue open letters: messages go back to their queue, executions of failed steps are opened again.

    Examples: factory dead requeue 17 18 --note "feed mended" ·
    factory dead requeue --stage feed_fetcher --since 2d --canary 5 --rate 20 --yes
    """
    chosen = Filter(
        stage, reason, error_class, tier, client, template, execution, kind, since, until, tuple(ids or ())
    )  # fmt: skip
    wish = carrying.Wish("requeue", filters.mass(chosen, everything), note, canary, rate)
    _act(wish, dry_run, yes, no_wait, json)


def discard(
    ids: Ids = None,
    stage: OfStage = None,
    reason: WithReason = None,
    error_class: OfClass = None,
    tier: OfTier = None,
    client: OfClient = None,
    template: OfTemplate = None,
    execution: OfExecution = None,
    kind: OfKind = None,
    since: Since = None,
    until: Until = None,
    everything: Everything = False,
    rate: Rate = None,
    note: Note = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    no_wait: NoWait = False,
    json: output.Json = False,
) -> None:
    """Discard open letters: they are kept on record and nothing is done about them any more.

    Example: factory dead discard --reason invalid_message --client acme --note "sent by mistake"
    """
    chosen = Filter(
        stage, reason, error_class, tier, client, template, execution, kind, since, until, tuple(ids or ())
    )  # fmt: skip
    _act(carrying.Wish("discard", filters.mass(chosen, everything), note, 0, rate), dry_run, yes, no_wait, json)


def _act(wish: carrying.Wish, dry_run: bool, yes: bool, no_wait: bool, json: bool) -> None:
    """Shows what is chosen, asks where options choose, and has it carried out."""
    if dry_run:
        _told(session.run(carrying.tally(wish)), json)
        return
    if not (yes or wish.chosen.ids):
        _ask(wish.action, session.run(carrying.tally(wish)), json)
    number = session.run(carrying.start(wish))
    _watch(number, no_wait, json)


def _told(found: list[Tally], json: bool) -> None:
    if json:
        output.document({"letters": sum(t.letters for t in found), "kinds": found})
    else:
        shown.tally(found)


def _ask(action: Action, found: list[Tally], json: bool) -> None:
    number = sum(t.letters for t in found)
    if not number:
        raise FactoryError("no open dead letter fits; see 'factory dead list'")
    if json or not sys.stdin.isatty():
        raise FactoryError(f"this would {action} {number} dead letters and nobody can be asked; add --yes")
    shown.tally(found)
    typer.confirm(f"{action} these {number} dead letters?", abort=True)


def _watch(number: int, no_wait: bool, json: bool) -> None:
    if no_wait:
        last = session.run(carrying.look(number))
    else:
        try:
            last = session.run(carrying.watch(number, quiet=json))
        except KeyboardInterrupt:
            output.note(
                f"stopped watching only: operation {number} goes on. See it with 'factory dead operations {number}', "
                f"stop it with 'factory dead stop {number}'"
            )
            raise
    if json:
        output.document(last)
    else:
        carrying.tell(last)
    if last.status in ("stopped", "canary_failed") or last.problems:
        raise typer.Exit(1)


def export(
    stage: OfStage = None,
    reason: WithReason = None,
    error_class: OfClass = None,
    tier: OfTier = None,
    client: OfClient = None,
    template: OfTemplate = None,
    execution: OfExecution = None,
    kind: OfKind = None,
    since: Since = None,
    until: Until = None,
    status: InStatus = Status.OPEN,
    to: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
) -> None:
    """Export dead letters with their bodies, the oldest first: one JSON document a line.

    Example: factory dead export --client acme --status all -o letters.jsonl
    """
    chosen = Filter(stage, reason, error_class, tier, client, template, execution, kind, since, until)
    with contextlib.nullcontext(sys.stdout) if to is None else to.open("w", encoding="utf-8") as file:
        number = session.run(_export(chosen, status, file))
    output.note(f"{number} dead letters")


async def _export(chosen: Filter, status: Status, file: TextIO) -> int:
    number = 0
    async with session.tables(session.known()) as connection:
        async for letter in letters.every(connection, await chosen.selection(connection, status)):
            file.write(json_text.dumps(shown.document(letter), default=output.plain, ensure_ascii=False) + "\n")
            number += 1
    return number


def operations(
    number: Annotated[int | None, typer.Argument(help="Only this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    json: output.Json = False,
) -> None:
    """List what was done with dead letters: who, when, which, why, and how far it came."""
    found = session.run(_operations(number, limit))
    if json:
        output.document(found)
    else:
        shown.operations(found)


async def _operations(number: int | None, limit: int) -> list[Operation]:
    async with session.tables(session.known()) as connection:
        if number is not None:
            return [await letters.operation(connection, number)]
        return await dead_operations.listing(connection, limit=limit)


def stop(number: Number, json: output.Json = False) -> None:
    """Stop an operation. What it has done stays done; the other letters stay open."""
    last = session.run(carrying.stop(number))
    if json:
        output.document(last)
    else:
        carrying.tell(last)


def resume(number: Number, no_wait: NoWait = False, json: output.Json = False) -> None:
    """Go on with an operation that was stopped."""
    session.run(carrying.resume(number))
    _watch(number, no_wait, json)
