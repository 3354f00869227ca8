"""What a command says: one JSON document or something for people on standard output, messages on standard error."""

import contextlib
import dataclasses
import datetime
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pydantic
import rich.box
import rich.console
import rich.table
import rich.text
import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]

PIPE_WIDTH = 200

STATUS_STYLES: Mapping[str, str] = {
    "queued": "yellow",
    "running": "cyan",
    "dispatched": "cyan",
    "ready": "cyan",
    "waiting": "yellow",
    "completed": "green",
    "partial": "yellow",
    "failed": "red",
    "cancelled": "magenta",
    "pending": "dim",
    "skipped": "dim",
    "up": "green",
    "ok": "green",
    "starting": "yellow",
    "gone": "red",
    "missing": "red",
    "healthy": "green",
    "degraded": "yellow",
    "dormant": "dim",
}
"""Colours only repeat what the word says."""


def stdout() -> rich.console.Console:
    """Standard output for people. A pipe has no width of its own, so that a line there may be long."""
    return rich.console.Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def stderr() -> rich.console.Console:
    """Standard error for people."""
    return rich.console.Console(stderr=True, highlight=False)


def silent() -> rich.console.Console:
    """A console that nobody sees."""
    return rich.console.Console(quiet=True, force_terminal=False)


def safe(text: object, keep: str = "") -> str:
    """The text without power over a terminal: what is no printable character, or turns the direction of writing, stands
    as its escape, but for the characters to keep."""
    told = str(text)
    if told.isprintable():
        return told
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in told)


def text(told: object, style: str = "") -> rich.text.Text:
    """A text that is shown as it is: nothing in it is markup, and nothing moves the cursor."""
    return rich.text.Text(safe(told), style)


def say(told: str) -> None:
    """A line of the result."""
    stdout().print(rich.text.Text(safe(told, keep="\n\t")), soft_wrap=True)


def note(told: str) -> None:
    """A message beside the result."""
    stderr().print(rich.text.Text(safe(told, keep="\n\t")), soft_wrap=True)


def document(value: object) -> None:
    """The one JSON document of a command."""
    sys.stdout.write(json.dumps(value, default=plain, ensure_ascii=False, indent=2) + "\n")


def plain(value: object) -> Any:
    """A value as JSON has it; raises TypeError for what it cannot have."""
    match value:
        case pydantic.BaseModel():
            return value.model_dump(mode="json", exclude_none=True)
        case UUID() | Path():
            return str(value)
        case datetime.datetime():
            return value.isoformat()
        case Mapping():
            return dict(value)
        case set() | frozenset():
            return sorted(value)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """A table for people, or the sentence that says why there is none."""
    shown = [list(row) for row in rows]
    if not shown:
        stdout().print(rich.text.Text(empty))
        return
    made = rich.table.Table(box=rich.box.SIMPLE, pad_edge=False, show_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column == columns[0])
    for row in shown:
        made.add_row(*(cell if isinstance(cell, rich.text.Text) else text(cell) for cell in row))
    stdout().print(made)


def status(word: str) -> rich.text.Text:
    """A status in its colour."""
    return text(word, STATUS_STYLES.get(word.strip(), ""))


def seconds(number: float | None) -> str:
    """A duration as people read it."""
    if number is None:
        return ""
    if number < 100:
        return f"{number:.1f} s"
    minutes, rest = divmod(round(number), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def when(moment: datetime.datetime | None) -> str:
    """A moment in the reader's time zone."""
    return "" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(number: int) -> str:
    """A size in bytes as people read it."""
    return f"{number} B" if number < 10_000 else f"{number / 1000:,.0f} kB"


@contextlib.contextmanager
def working(text: str) -> Iterator[None]:
    """Shows on a terminal that something takes a while."""
    console = stderr()
    if not console.is_terminal:
        yield
        return
    with console.status(rich.text.Text(text)):
        yield
