"""A collector of traces on loopback, as small as one can be: what processes export over OTLP is kept for a test."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence

from aiohttp import web
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Exported
from opentelemetry.proto.trace.v1.trace_pb2 import Status

Value = str | int | float | bool


@dataclasses.dataclass(frozen=True)
class Span:
    """A span as it arrived; ids are in hexadecimal, a root has an empty ``parent``."""

    process: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: frozenset[str]
    attributes: Mapping[str, Value]
    failed: bool
    began: int
    ended: int


class Collector:
    """What has arrived so far."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.endpoint = ""

    @property
    def traces(self) -> set[str]:
        """The ids of all traces."""
        return {span.trace for span in self.spans}

    def named(self, name: str, **attributes: Value) -> list[Span]:
        """The spans of a name whose attributes ``factory.<name>`` have these values, in the order of their begin."""
        wanted = {f"factory.{key}": value for key, value in attributes.items()}
        found = [span for span in self.spans if span.name == name and wanted.items() <= span.attributes.items()]
        return sorted(found, key=lambda span: span.began)

    def way(self, span: Span) -> list[str]:
        """The names of the spans from the root of the trace to this one; fails where a parent is missing."""
        by_id = {span.id: span for span in self.spans}
        names = [span.name]
        while span.parent:
            assert span.parent in by_id, f"the parent of '{span.name}' never arrived"
            span = by_id[span.parent]
            names.append(span.name)
        return names[::-1]

    def receive(self, body: bytes) -> None:
        """Takes in an export."""
        request = trace_service_pb2.ExportTraceServiceRequest()
        request.ParseFromString(body)
        for resource in request.resource_spans:
            process = _attributes(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_span(str(process), span) for span in scope.spans]


def _span(process: str, span: Exported) -> Span:
    return Span(
        process=process,
        name=span.name,
        kind=Exported.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=frozenset(link.span_id.hex() for link in span.links),
        attributes=_attributes(span.attributes),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
    )


def _attributes(pairs: Sequence[KeyValue]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    found: Value = getattr(value, value.WhichOneof("value") or "string_value")
    return found


@contextlib.asynccontextmanager
async def serve() -> AsyncIterator[Collector]:
    """A collector that listens while the context lasts."""
    collector = Collector()

    async def take(request: web.Request) -> web.Response:
        collector.receive(await request.read())
        body = trace_service_pb2.ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=body, content_type="application/x-protobuf")

    application = web.Application()
    application.add_routes([web.post("/v1/traces", take)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    collector.endpoint = f"http://{host}:{port}"
    try:
        yield collector
    finally:
        await runner.cleanup()
