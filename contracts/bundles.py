"""Events that travel together: the broker pays for messages rather than for bytes."""

import json
from collections.abc import Sequence
from typing import Any

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
    """The events in a TasksEnded that cannot be decoded as a whole, as type and body.

    None if that is not because of an event: one of another version, or with more in it, is not understood as a whole.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return []
    if not isinstance(document, dict) or document.get("version", 1) != 1 or document.keys() - TasksEnded.model_fields:
        return []
    found: list[tuple[str, bytes]] = []
    for name, model in (("completed", StageCompleted), ("failed", StageFailed)):
        events = document.get(name, [])
        if not isinstance(events, list):
            return []
        found += [(model.__name__, _encoded(event)) for event in events]
    return found


def _encoded(event: Any) -> bytes:
    """Text in any language as it was, so that the event does not grow over the limit."""
    try:
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(event, separators=(",", ":")).encode()
