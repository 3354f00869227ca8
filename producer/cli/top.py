"""The command that watches the whole factory."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from infra.settings import Settings
from producer import overview, troubles
from producer.cli import output, panes, screens, session
from producer.overview import Snapshot
from producer.troubles import Trouble

LOG = "top.log"


def register(app: typer.Typer, name: str) -> None:
    """Adds the command."""
    app.command(name)(top)


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """One look and what it means."""

    healthy: bool
    troubles: list[Trouble]
    snapshot: Snapshot


def top(
    every: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds from one look to the next.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one look as text, as for a pipe.")] = False,
    json: output.Json = False,
) -> None:
    """Watch the whole factory: what is wrong and since when, what waits and runs, who works, what failed.

    Keys: arrows select, tab goes to the next pane, enter or o opens an execution, p pauses or resumes the execution or
    stage, c cancels, d shows dead letters, / filters, ? explains, q ends. What it has to log goes to top.log in
    FACTORY_HOME. With --json one look is printed for programs; 'healthy' is whether nothing is wrong. What the
    management API tells is some seconds old.

    Examples: factory top · factory top --every 5 · factory top --once
    """
    configured = session.known()
    if json or once or not (sys.stdout.isatty() and sys.stdin.isatty()):
        _print(session.run(_look(configured)), json)
        return
    with _log(configured.home).open("w", buffering=1) as told:
        session.run(_watch(configured, every), told)


def _log(home: Path) -> Path:
    """Where the log goes while the screen is drawn: where there is no home folder to write into, nowhere."""
    return home / LOG if os.access(home, os.W_OK | os.X_OK) else Path(os.devnull)


async def _look(configured: Settings) -> Told:
    async with overview.source(configured) as source:
        snapshot = await source.look()
    found = troubles.troubles(snapshot)
    return Told(not any(trouble.grave for trouble in found), found, snapshot)


async def _watch(configured: Settings, every: float) -> None:
    async with overview.source(configured) as source:
        await screens.Top(configured, source, every).run_async(mouse=False)


def _print(told: Told, json: bool) -> None:
    if json:
        output.document(told)
        return
    console = output.stdout()
    for line in panes.head(told.snapshot, told.troubles, {}, most=100):
        console.print(line, soft_wrap=True)
    for pane in panes.panes(told.snapshot, console.width):
        console.print()
        for line in panes.table(pane, console.width):
            console.print(line, soft_wrap=True)
