"""Events that a worker told together, taken apart: each counts, and fails, by itself."""

from collections.abc import Sequence

from contracts import bundles, encoding, topology
from contracts.bundles import TasksEnded
from contracts.errors import MessageError
from contracts.messages import Message
from infra import tracing
from infra.delivery import Delivery

Good = tuple[Delivery, Message]
Bad = tuple[Delivery, MessageError]

OF_BUNDLES = (topology.BUNDLED, topology.TRACEPARENTS)
"""The headers that speak of a bundle as a whole."""


def opened(good: Sequence[Good], bad: Sequence[Bad]) -> tuple[list[Good], list[Bad]]:
    """The same with every bundle replaced by its events; one that cannot be decoded does not spoil its neighbours."""
    events: list[Good] = []
    spoiled: list[Bad] = []
    for delivery, message in good:
        if isinstance(message, TasksEnded):
            inside = (*message.completed, *message.failed)
            events += zip(_traced(delivery, len(inside)), inside, strict=True)
        else:
            events.append((delivery, message))
    for delivery, error in bad:
        found, unusable = _apart(delivery) if delivery.type == TasksEnded.__name__ else ([], [])
        events += found
        spoiled += unusable if found or unusable else [(delivery, error)]
    return events, spoiled


def alone(delivery: Delivery, message: Message) -> Delivery:
    """The delivery as it would be if this message of it had come by itself."""
    if delivery.type == type(message).__name__:
        return delivery
    return _part(delivery, type(message).__name__, encoding.encode(message))


def _apart(delivery: Delivery) -> tuple[list[Good], list[Bad]]:
    good: list[Good] = []
    bad: list[Bad] = []
    parts = bundles.unbundle(delivery.body)
    for traced, (name, body) in zip(_traced(delivery, len(parts)), parts, strict=True):
        part = _part(traced, name, body)
        try:
            good.append((part, encoding.decode(name, body)))
        except MessageError as error:
            bad.append((part, error))
    return good, bad


def _part(delivery: Delivery, name: str, body: bytes) -> Delivery:
    headers = {header: value for header, value in delivery.headers.items() if header not in OF_BUNDLES}
    return delivery._replace(type=name, body=body, headers=headers)


def _traced(delivery: Delivery, events: int) -> Sequence[Delivery]:
    """The delivery of a bundle once for each event in it, with the event's own trace context where it names one."""
    told = delivery.headers.get(topology.TRACEPARENTS) if tracing.on() else None
    contexts = told.split(",", events) if isinstance(told, str) else []
    if len(contexts) != events:
        return [delivery] * events
    return [delivery._replace(headers={**delivery.headers, "traceparent": context}) for context in contexts]
