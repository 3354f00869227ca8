"""The commands by name. Only the module of the command that is called is loaded, so that help comes at once."""

import importlib
import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import typer

from contracts.errors import FactoryError

HELP = """Runs jobs as pipelines of stages: from a topic to a report.

Start with [bold]factory demo[/bold]. Every command has --help with examples, and --json for programs."""


INTERRUPTED = 130
"""The exit status of what Ctrl-C ended, as shells have it."""


class Entry(NamedTuple):
    """Where a command is defined, and the line that the list of commands has about it."""

    module: str
    help: str
    hidden: bool = False


COMMANDS: Mapping[str, Entry] = MappingProxyType({
    "demo": Entry("demo", "Run the whole pipeline on sample feeds and show its report."),
    "up": Entry("stack", "Start the local servers and the factory's processes."),
    "down": Entry("stack", "Stop everything that 'up' started."),
    "status": Entry("stack", "Show what runs and what is to be done."),
    "doctor": Entry("upkeep", "Check machine, servers and queues, and name the remedy for what is missing."),
    "migrate": Entry("upkeep", "Bring database, broker and object store to what this version needs."),
    "prepare": Entry("upkeep", "What 'up' does before the processes start.", hidden=True),
    "coordinator": Entry("processes", "Run a coordinator in the foreground."),
    "worker": Entry("processes", "Run a worker of some stages in the foreground."),
    "templates": Entry("templates", "Apply, list, show, export, validate and compare templates."),
    "submit": Entry("jobs", "Submit a job."),
    "watch": Entry("jobs", "Watch an execution until it ends."),
    "executions": Entry("executions", "List, show, cancel, pause and repeat executions."),
    "deliverables": Entry("deliverables", "Get what an execution has made."),
    "articles": Entry("articles", "Show why each article was chosen for a report or left out."),
    "dead": Entry("dead", "List, show, requeue, discard and export dead letters."),
    "queues": Entry("queues", "Show depth, age, consumers and unacknowledged messages of every queue."),
    "clients": Entry("clients", "Add, list and pause clients."),
    "stages": Entry("steering", "Pause and resume stages."),
    "sources": Entry("sources", "List, show and reset the feeds that workers read."),
    "schedules": Entry("schedules", "Submit a job again and again by the clock."),
    "stats": Entry("statistics", "Show success rates, durations, failures, costs and workers over a window of time."),
    "top": Entry("top", "Watch the whole factory live, and pause, cancel or open what runs."),
    "budgets": Entry("budgets", "Show and set what clients and executions may spend."),
})  # fmt: skip


def build(arguments: Sequence[str]) -> typer.Typer:
    """The command line as these arguments need it: their command as it is, every other as a line of help."""
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    app = typer.Typer(
        name="factory",
        help=HELP,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name, entry in COMMANDS.items():
        if name != chosen:
            app.command(name, help=entry.help, hidden=entry.hidden)(_elsewhere)
            continue
        register: Callable[[typer.Typer, str], None] = importlib.import_module(f"producer.cli.{entry.module}").register
        register(app, name)
    return app


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit status; what a person can mend is one line on standard error."""
    # Whoever asks a command to end gets the same good order as with Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        build(arguments)(list(arguments), prog_name="factory")
    except FactoryError as error:
        return _failed(str(error), arguments)
    except OSError as error:
        if error.filename is None:
            raise
        return _failed(f"{error.filename}: {error.strerror}", arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _failed(explanation: str, arguments: Sequence[str]) -> int:
    sys.stderr.write(f"factory: {explanation}\n")
    if "--json" in arguments:
        sys.stdout.write(json.dumps({"error": explanation}) + "\n")
    return 1


def _root() -> None:
    """Runs before every command."""


def _elsewhere() -> None:
    """Stands for a command that was not called."""
