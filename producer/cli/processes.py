"""The commands that become a process of the factory."""

import os
import sys
from typing import Annotated

import typer

from contracts.stages import MOST_AT_ONCE

Health = Annotated[int | None, typer.Option("--health-port", min=1, max=65535, help="Serve /health and /ready there.")]


def register(app: typer.Typer, name: str) -> None:
    """Adds the command."""
    app.command(name)(coordinator if name == "coordinator" else worker)


def coordinator(health_port: Health = None) -> None:
    """Run a coordinator in the foreground until Ctrl-C; any number may run at once.

    Example: factory coordinator --health-port 8081
    """
    _become(["coordinator"], health_port)


def worker(
    stages: Annotated[list[str] | None, typer.Argument(help="The stages to work on; all if none is named.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, max=MOST_AT_ONCE, help="Tasks at the same time.")] = None,
    health_port: Health = None,
) -> None:
    """Run a worker in the foreground; the first Ctrl-C lets it finish what it holds.

    Examples: factory worker · factory worker feed_fetcher --concurrency 32
    """
    limit = [] if concurrency is None else ["--concurrency", str(concurrency)]
    _become(["worker", *(stages or []), *limit], health_port)


def _become(arguments: list[str], health_port: int | None) -> None:
    port = [] if health_port is None else ["--health-port", str(health_port)]
    # This process turns into the other one, so that signals reach it and nothing of the command line stays in memory.
    os.execv(sys.executable, [sys.executable, "-m", "consumers", *arguments, *port])
