"""The spans of a worker: one for each delivery, with what it loads, runs, stores and fetches inside."""

import re
from urllib.parse import urlsplit

from consumers.runtime.supply import Offer
from infra import tracing
from infra.tracing import Kind, Span

_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,253}")


def work(offer: Offer, worker: str) -> Span:
    """The span of a delivery, from its start to its acknowledgement; it belongs to the offer that the message names."""
    if not tracing.on():
        return tracing.NONE
    task, delivery = offer.task, offer.delivery
    attributes = {
        **tracing.of_task(task),
        "messaging.operation.type": "process",
        "messaging.operation.name": "work",
        "messaging.destination.name": delivery.queue,
        "factory.worker": worker,
        "factory.redelivered": delivery.redelivered,
    }
    return tracing.start(f"work {task.stage}", Kind.CONSUMER, delivery.traceparent, attributes)


def fetch(url: str) -> Span:
    """The span of a fetch. It names the host and nothing else of the URL, which may hold what is nobody's business."""
    span = tracing.child("fetch", Kind.CLIENT)
    if span is not tracing.NONE:
        try:
            host = urlsplit(url).hostname or ""
        except ValueError:
            host = ""
        span.note({"server.address": host if _HOST.fullmatch(host) else "invalid"})
    return span
