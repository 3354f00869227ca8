"""Traces: which trace a message belongs to, and the spans of this process where somebody wants them.

Every execution belongs to a trace, so that what all processes log about it can be joined. Spans are made only where
``FACTORY_TRACES_ENDPOINT`` says where they are to go; without it no library is loaded for them, and each call here is
one look at a name.
"""

import enum
import re
import secrets
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Protocol, Self

from contracts.errors import StageError
from contracts.messages import StageTask

LENGTH = 55
"""Characters of a traceparent: version, trace, parent and flags (W3C Trace Context)."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

Value = str | int | float | bool
Attributes = Mapping[str, Value]


def valid(text: object) -> str | None:
    """The traceparent, if it is one; whoever sends something else has sent none.

    One of a later version counts as far as this version understands it, as the standard says.
    """
    if not isinstance(text, str) or not _TRACEPARENT.match(text) or text.startswith("ff"):
        return None
    if text.startswith("00"):
        return text if len(text) == LENGTH else None
    later = len(text) == LENGTH or text[LENGTH] == "-"
    return f"00{text[2:LENGTH]}" if later else None


def fresh() -> str:
    """The context of a trace that begins here and of which nobody records anything."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"


def trace_id(traceparent: str | None) -> str | None:
    """The id of the trace; None without a valid traceparent."""
    found = valid(traceparent)
    return None if found is None else found[3:35]


class Kind(enum.Enum):
    """What a span is to those on its other side."""

    INTERNAL = enum.auto()
    CLIENT = enum.auto()
    PRODUCER = enum.auto()
    CONSUMER = enum.auto()


class Span(Protocol):
    """A piece of work with a beginning and an end. As a context it ends with its block, failed if that raises, and
    what ``child`` begins inside is a part of it."""

    @property
    def traceparent(self) -> str | None:
        """The context for messages that follow from this work; None if no span is made."""

    def note(self, attributes: Attributes) -> None:
        """Adds what is known by now."""

    def fail(self, error_class: str) -> None:
        """Marks the work as failed."""

    def end(self) -> None:
        """The work is over."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Unrecorded:
    """The span where none is made; what follows belongs to the context that was there before, if there was one."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str | None = None) -> None:
        self.traceparent = traceparent

    def note(self, attributes: Attributes) -> None:
        """Nothing."""

    def fail(self, error_class: str) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Tracer(Protocol):
    """What makes spans and exports them."""

    def start(
        self, name: str, kind: Kind, parent: str | None, attributes: Attributes, links: Sequence[str], seconds: float
    ) -> Span:
        """A span that began so many seconds ago."""

    async def close(self) -> None:
        """Exports what is left, for a moment at most."""


NONE: Span = Unrecorded()

CURRENT: ContextVar[Span] = ContextVar("span", default=NONE)
"""The span whose block is being run."""

# Like the failpoints a state of the process that is not handed around: whatever takes part in the work looks here.
_tracer: Tracer | None = None


def on() -> bool:
    """Whether this process makes spans."""
    return _tracer is not None


def start(
    name: str,
    kind: Kind,
    parent: str | None,
    attributes: Attributes,
    links: Sequence[str] = (),
    seconds: float = 0.0,
) -> Span:
    """A span, to be ended by the caller; it began so many seconds ago. Without a parent it begins a trace."""
    if _tracer is None:
        return NONE
    return _tracer.start(name, kind, parent, attributes, links, seconds)


def child(name: str, kind: Kind = Kind.INTERNAL) -> Span:
    """A part of the span whose block is being run; none where there is no such span. To be used as a context."""
    if _tracer is None:
        return NONE
    parent = CURRENT.get().traceparent
    return NONE if parent is None else _tracer.start(name, kind, parent, {}, (), 0.0)


def error_class(error: BaseException) -> str:
    """The kind of an error, without anything that its text may quote."""
    return error.error_class.value if isinstance(error, StageError) else type(error).__name__


def use(tracer: Tracer | None) -> None:
    """Has this process make its spans with this, or none any more."""
    global _tracer
    _tracer = tracer


def of_task(task: StageTask) -> dict[str, Value]:
    """What the spans of a task say of it."""
    return {
        "messaging.system": "rabbitmq",
        "messaging.message.conversation_id": str(task.execution_id),
        "factory.execution_id": str(task.execution_id),
        "factory.epoch": task.epoch,
        "factory.step": task.step,
        "factory.shard": task.shard,
        "factory.attempt": task.attempt,
        "factory.stage": task.stage,
        "factory.client": task.context.client,
        "factory.tier": task.context.tier.value,
        "factory.template": task.context.template,
    }
