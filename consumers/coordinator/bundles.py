"""Events that a worker told together, taken apart: each counts, and fails, by itself."""

from collections.abc import Sequence

from contracts import bundles, encoding, topology
from contracts.bundles import TasksEnded
from contracts.errors import MessageError
from contracts.messages import Message
from infra.delivery import Delivery

Good = tuple[Delivery, Message]
Bad = tuple[Delivery, MessageError]


def opened(good: Sequence[Good], bad: Sequence[Bad]) -> tuple[list[Good], list[Bad]]:
    """The same with every bundle replaced by its events; one that cannot be decoded does not spoil its neighbours."""
    events: list[Good] = []
    spoiled: list[Bad] = []
    for delivery, message in good:
        inside = (*message.completed, *message.failed) if isinstance(message, TasksEnded) else (message,)
        events += [(delivery, event) for event in inside]
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
    for name, body in bundles.unbundle(delivery.body):
        part = _part(delivery, name, body)
        try:
            good.append((part, encoding.decode(name, body)))
        except MessageError as error:
            bad.append((part, error))
    return good, bad


def _part(delivery: Delivery, name: str, body: bytes) -> Delivery:
    headers = {header: value for header, value in delivery.headers.items() if header != topology.BUNDLED}
    return delivery._replace(type=name, body=body, headers=headers)
