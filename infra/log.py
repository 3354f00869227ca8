"""Structured logs: one line for each fact, as JSON or for people, and nothing in it that must not be there.

Whatever a value holds, a line stays one line, shows no password of the settings and no credentials of a URL, and an
exception is told by its type and the lines of the source that it came through, never by its text.
"""

import asyncio
import json
import logging
import math
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, TextIO
from urllib.parse import quote

import pydantic_core
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from infra import faults

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

MOST = 2000
"""Characters of one value; what is longer is cut."""

MOST_ITEMS = 50
DEEPEST = 4
MOST_FRAMES = 30
MASK = "***"

EXCEPTION = "exception"
_CREDENTIALS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/?#]*@")
_PLAIN = frozenset({int, bool, type(None)})
_FIRST = ("timestamp", "level", "event")
_COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_META = frozenset({"_record", "_from_structlog"})
"""What structlog keeps in an event on its way."""


def configure(process: str, level: str, form: str, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Sends the log of this process to a stream, standard error by itself, every line carrying the process's kind.

    ``secrets`` are shown nowhere. What libraries say through the standard logging comes in the same form.
    """

    def name(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    told = sys.stderr if stream is None else stream
    render = _json if form == "json" else _console(coloured=told.isatty())
    chain: list[Processor] = [
        name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _tell_exception,
        cleaner(secrets),
    ]
    structlog.configure(
        processors=[*chain, render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(told),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(told)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_name_library, *chain],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def tell_unhandled(loop: asyncio.AbstractEventLoop) -> None:
    """Has what nobody handles told as a line of the log; by itself Python prints the texts of exceptions."""
    loop.set_exception_handler(_loop_failed)
    sys.excepthook = _ended


def _loop_failed(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    structlog.get_logger().error("unhandled", reason=context.get("message"), exc_info=context.get("exception"))


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    structlog.get_logger().error("process_ended", exc_info=error)


def _name_library(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    record = event["_record"]
    event["logger"] = record.name
    return event


def _tell_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    if "exc_info" not in event:
        return event
    found = event.pop("exc_info")
    error = sys.exc_info()[1] if found is True else found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event[EXCEPTION] = "\n".join(lines_of(error))
    return event


def lines_of(error: BaseException, depth: int = 0) -> list[str]:
    """The type of an exception and the lines that it came through, the innermost last; then what caused it."""
    lines = [f"{'  ' * depth}{type(error).__name__}"]
    frames = traceback.extract_tb(error.__traceback__, limit=-MOST_FRAMES)
    lines += [f"{'  ' * depth}  at {faults.place(frame)}" for frame in frames]
    if depth < DEEPEST:
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        for inner in (*(error.exceptions if isinstance(error, BaseExceptionGroup) else ()), cause):
            if inner is not None:
                lines += lines_of(inner, depth + 1)
    return lines


def cleaner(secrets: Iterable[str]) -> Processor:
    """What makes every value of a line harmless. A line that is harmless already costs a look at it."""
    known = _spellings(secrets)

    def clean(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        texts = [*event]
        plain = True
        for value in event.values():
            kind = type(value)
            if kind is str:
                texts.append(value)
            elif kind not in _PLAIN and (kind is not float or not math.isfinite(value)):
                plain = False
        whole = " ".join(texts)
        if (
            plain
            and whole.isprintable()
            and len(whole) <= MOST
            and "://" not in whole
            and not any(secret in whole for secret in known)
        ):
            return event
        return {
            _text(str(key), known): _lines(value, known) if key == EXCEPTION else _value(value, known, 0)
            for key, value in event.items()
            if key not in _META
        } | {key: event[key] for key in _META if key in event}

    return clean


def _spellings(secrets: Iterable[str]) -> tuple[str, ...]:
    """The secrets as they are, and as they stand in URLs and in quotes, the longest first."""
    found: set[str] = set()
    for secret in secrets:
        found |= {secret, quote(secret, safe=""), repr(secret)[1:-1], json.dumps(secret)[1:-1]}
    return tuple(sorted(found - {""}, key=len, reverse=True))


def _value(value: Any, known: tuple[str, ...], depth: int) -> Any:
    kind = type(value)
    if kind in _PLAIN or (kind is float and math.isfinite(value)):
        return value
    if isinstance(value, str):
        return _text(str(value), known)
    if isinstance(value, BaseException):
        return _text(faults.told(value), known)
    if depth < DEEPEST and isinstance(value, Mapping):
        items = list(value.items())[:MOST_ITEMS]
        return {_text(str(key), known): _value(inner, known, depth + 1) for key, inner in items}
    if depth < DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [_value(inner, known, depth + 1) for inner in list(value)[:MOST_ITEMS]]
    return _text(str(value), known)


def _lines(value: Any, known: tuple[str, ...]) -> str:
    return "\n".join(_text(line, known) for line in str(value).split("\n"))


def _text(text: str, known: tuple[str, ...]) -> str:
    for secret in known:
        text = text.replace(secret, MASK)
    text = text[: 2 * MOST]
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    if "://" in text:
        text = _CREDENTIALS.sub(rf"\g<1>{MASK}@", text)
    return text if len(text) <= MOST else f"{text[:MOST]}…"


def _json(_: WrappedLogger, __: str, event: EventDict) -> str:
    return pydantic_core.to_json(event, fallback=str).decode()


def _console(*, coloured: bool) -> Callable[[WrappedLogger, str, EventDict], str]:
    """Lines for people: what happened, then its values; one with spaces stands in quotes, so that it cannot pose as
    another. Below them, indented, the way of an exception."""

    def render(_: WrappedLogger, __: str, event: EventDict) -> str:
        level = event.get("level", "")
        shown = f"[{level:<7}]"
        if coloured:
            shown = f"{_COLOURS.get(level, '')}{shown}\x1b[0m"
        what = str(event.get("event", ""))
        line = [event.get("timestamp", ""), shown, _shown(what) if "=" in what else what]
        line += [f"{key}={_shown(value)}" for key, value in event.items() if key not in _FIRST and key != EXCEPTION]
        if EXCEPTION in event:
            line.append("\n    " + str(event[EXCEPTION]).replace("\n", "\n    "))
        return " ".join(line)

    return render


def _shown(value: Any) -> str:
    # What is cleaned has no other white space than the blank.
    text = value if type(value) is str else str(value)
    if " " in text or "=" in text or '"' in text or not text:
        return '"' + text.replace('"', "'") + '"'
    return text
