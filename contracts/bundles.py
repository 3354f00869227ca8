"""Events that travel together: the broker pays for messages rather than for bytes."""

import json
from collections.abc import Sequence

from contracts.messages import Message, StageCompleted, StageFailed


class TasksEnded(Message):
    """Attempts of one worker that ended at the same time; each counts as if it were told alone.

    A worker may as well tell each by itself.
    """

    completed: tuple[StageCompleted, ...] = ()
    failed: tuple[StageFailed, ...] = ()


def bundle(completed: Sequence[bytes], failed: Sequence[bytes]) -> bytes:
    """Encoded events as the encoding of one TasksEnded; the caller keeps to the limit."""
    lists = [
        f'"{name}":['.encode() + b",".join(events) + b"]"
        for name, events in (("completed", completed), ("failed", failed))
    ]
    return b'{"version":1,' + b",".join(lists) + b"}"


def unbundle(body: bytes) -> list[tuple[str, bytes]]:
    """The events in a TasksEnded that cannot be decoded as a whole, as type and body; none if it holds no lists."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return []
    found: list[tuple[str, bytes]] = []
    for name, model in (("completed", StageCompleted), ("failed", StageFailed)):
        events = document.get(name) if isinstance(document, dict) else None
        if isinstance(events, list):
            found += [(model.__name__, json.dumps(event).encode()) for event in events]
    return found
