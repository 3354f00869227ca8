"""Where the spans of a process go, if anywhere. What makes them is loaded only where somebody wants them."""

import contextlib
import importlib
from collections.abc import AsyncIterator

from infra import tracing


@contextlib.asynccontextmanager
async def exporting(process: str, endpoint: str, ratio: float) -> AsyncIterator[None]:
    """Exports the spans of this process while the context lasts; without an endpoint none are made.

    ``ratio`` of the traces that begin here are recorded; of the others, as whoever began them has decided. A collector
    that is away costs spans and nothing else. Inside another such context of the process it does nothing.
    """
    if not endpoint or tracing.on():
        yield
        return
    tracer: tracing.Tracer = importlib.import_module("infra.otlp").start(process, endpoint, ratio)
    tracing.use(tracer)
    try:
        yield
    finally:
        tracing.use(None)
        await tracer.close()
