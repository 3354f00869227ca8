"""Spans made with OpenTelemetry and sent over OTLP by a thread of their own. Loaded only where traces are wanted."""

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import Token
from types import TracebackType
from typing import Self

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from infra import tracing
from infra.tracing import Attributes, Kind

log = structlog.get_logger()

PATH = "/v1/traces"
QUEUE = 8192
"""Spans that wait for their export; when there are more, the oldest are dropped."""

BATCH = 512
DELAY_SECONDS = 1.0
EXPORT_SECONDS = 5.0
CLOSE_SECONDS = 3.0
"""How long the end of a process may wait for its last spans to leave."""

SILENCE_SECONDS = 300.0
"""Between two warnings of one kind."""

LONGEST_VALUE = 256
"""Characters of an attribute."""

_KINDS = {
    Kind.INTERNAL: trace.SpanKind.INTERNAL,
    Kind.CLIENT: trace.SpanKind.CLIENT,
    Kind.PRODUCER: trace.SpanKind.PRODUCER,
    Kind.CONSUMER: trace.SpanKind.CONSUMER,
}


class Span:
    """A span of OpenTelemetry in the terms of ``infra.tracing``."""

    __slots__ = ("_span", "_token", "traceparent")

    def __init__(self, span: trace.Span) -> None:
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        self._span = span
        self._token: Token[tracing.Span] | None = None

    def note(self, attributes: Attributes) -> None:
        """Adds what is known by now."""
        self._span.set_attributes(attributes)

    def fail(self, error_class: str) -> None:
        """Marks the work as failed."""
        self._span.set_attribute("error.type", error_class)
        self._span.set_status(trace.Status(trace.StatusCode.ERROR, error_class))

    def end(self) -> None:
        """The work is over."""
        self._span.end()

    def __enter__(self) -> Self:
        self._token = tracing.CURRENT.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            tracing.CURRENT.reset(self._token)
        if error is not None:
            self.fail(tracing.error_class(error))
        self.end()


class Tracer:
    """The spans of a process, and the thread that exports them."""

    def __init__(self, process: str, endpoint: str, ratio: float) -> None:
        """``endpoint`` is the address of a collector, ``ratio`` the share of traces begun here that is recorded."""
        _SELDOM.listen()
        self._exporter = OTLPSpanExporter(endpoint=_address(endpoint), timeout=EXPORT_SECONDS)
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=QUEUE,
            schedule_delay_millis=DELAY_SECONDS * 1000,
            max_export_batch_size=BATCH,
        )
        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=Resource.create(
                {
                    "service.namespace": "ai-factory",
                    "service.name": process,
                    "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
                }
            ),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_attribute_length=LONGEST_VALUE),
        )
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("ai-factory")

    def start(
        self, name: str, kind: Kind, parent: str | None, attributes: Attributes, links: Sequence[str], seconds: float
    ) -> tracing.Span:
        """A span that began so many seconds ago; without a valid parent it begins a trace."""
        known = tracing.valid(parent)
        if known is not None and not int(known[-2:], 16) & trace.TraceFlags.SAMPLED:
            # Whoever began the trace wants no record of it. The library would come to the same, for ten times the cost.
            return tracing.Unrecorded(known)
        # An empty context, so that nothing but the message says where a span belongs.
        context = Context()
        if (above := _context(known)) is not None:
            context = trace.set_span_in_context(trace.NonRecordingSpan(above), context)
        linked = [trace.Link(found) for link in links if (found := _context(link)) is not None]
        began = time.time_ns() - int(seconds * 1e9) if seconds else None
        return Span(self._tracer.start_span(name, context, _KINDS[kind], attributes, linked, began))

    async def close(self) -> None:
        """Exports what is left within three seconds; what has not left by then is dropped."""
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        done.set_running_or_notify_cancel()
        shutdown: Callable[[], None] = self._processor.shutdown
        abort: Callable[[], None] = self._exporter.shutdown

        def shut_down() -> None:
            shutdown()
            done.set_result(None)

        # No thread of a pool: the interpreter would wait for those at its end.
        threading.Thread(target=shut_down, name="last spans", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.wrap_future(done)
        _SELDOM.setLevel(logging.CRITICAL + 1)
        if not done.done():
            abort()
            log.warning("last_spans_dropped", after=CLOSE_SECONDS)


class _Seldom(logging.Handler):
    """What the library says of its exports, each thing once in a while: a collector may be away for days."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def listen(self) -> None:
        library = logging.getLogger("opentelemetry")
        library.addHandler(self)
        library.propagate = False
        self.setLevel(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        now, what = time.monotonic(), str(record.msg)
        said = self._said.get(what)
        if said is not None and now - said < SILENCE_SECONDS:
            return
        self._said[what] = now
        log.warning("traces_not_exported", reason=record.getMessage())


_SELDOM = _Seldom()


def start(process: str, endpoint: str, ratio: float) -> tracing.Tracer:
    """Begins to export the spans of this process; called in the process itself, since threads do not survive a fork."""
    return Tracer(process, endpoint, ratio)


def _address(endpoint: str) -> str:
    base = endpoint.rstrip("/")
    return base if base.endswith(PATH) else f"{base}{PATH}"


def _context(traceparent: str | None) -> trace.SpanContext | None:
    found = tracing.valid(traceparent)
    if found is None:
        return None
    return trace.SpanContext(int(found[3:35], 16), int(found[36:52], 16), True, trace.TraceFlags(int(found[53:], 16)))
