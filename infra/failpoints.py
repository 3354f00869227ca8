"""Named points in the life of a message at which a test can kill, stop, disturb or delay the process.

Off unless ``FACTORY_FAILPOINT`` arms some. A name that ends in "ing" stands before what it names, "ed" after it.
"""

import dataclasses
import enum
import logging
import os
import re
import signal
import time
from collections.abc import Iterable

# The standard logging, because every command reads the settings, and these the names below, before it can log.
log = logging.getLogger(__name__)

DELAY_SECONDS = 5.0
_SPEC = re.compile(r"(?P<point>[a-z_]+):(?P<action>[a-z]+)(?:=(?P<seconds>\d+(?:\.\d+)?))?(?::(?P<nth>[1-9]\d{0,8}))?")


class Failpoint(enum.StrEnum):
    """The points, each reached at one line of the source."""

    # Every process that publishes
    PUBLISH_SENT = enum.auto()
    """The bytes have left, and nobody has seen a confirm."""

    # Coordinator: jobs and events
    JOBS_RECEIVED = enum.auto()
    JOBS_DECODED = enum.auto()
    EVENTS_RECEIVED = enum.auto()
    EVENTS_DECODED = enum.auto()
    SHORTCUT_COMMITTING = enum.auto()
    SHORTCUT_COMMITTED = enum.auto()
    TRANSACTION_COMMITTING = enum.auto()
    TRANSACTION_COMMITTED = enum.auto()
    BATCH_COMMITTED = enum.auto()
    BATCH_DELIVERED = enum.auto()
    BATCH_ACKING = enum.auto()
    BATCH_ACKED = enum.auto()

    # Coordinator: what a commit owes
    TASKS_PUBLISHING = enum.auto()
    TASKS_PUBLISHED = enum.auto()
    OWED_PUBLISHING = enum.auto()
    OWED_PUBLISHED = enum.auto()
    OWED_FORGETTING = enum.auto()
    OWED_FORGOTTEN = enum.auto()
    OWED_CLAIMING = enum.auto()
    OWED_CLAIMED = enum.auto()
    CONFIRMS_NOTING = enum.auto()
    CONFIRMS_NOTED = enum.auto()

    # Coordinator: its other work
    ADMISSION_COMMITTING = enum.auto()
    ADMISSION_COMMITTED = enum.auto()
    MANIFEST_STORING = enum.auto()
    MANIFEST_STORED = enum.auto()
    DEAD_LETTER_RECEIVED = enum.auto()
    DEAD_LETTER_ACKING = enum.auto()
    DEAD_LETTER_ACKED = enum.auto()
    HEARTBEATS_RECEIVED = enum.auto()
    HEARTBEATS_ACKING = enum.auto()
    HEARTBEATS_ACKED = enum.auto()
    SNAPSHOT_PUBLISHING = enum.auto()
    SNAPSHOT_PUBLISHED = enum.auto()
    NOTIFICATIONS_PUBLISHING = enum.auto()
    NOTIFICATIONS_PUBLISHED = enum.auto()
    PROBE_PUBLISHING = enum.auto()
    PROBE_PUBLISHED = enum.auto()
    PROBE_REJECTING = enum.auto()
    PROBE_REJECTED = enum.auto()
    PROBE_RETURNING = enum.auto()
    PROBE_RETURNED = enum.auto()

    # Worker: a task from its delivery to its acknowledgement
    TASK_RECEIVED = enum.auto()
    TASK_DECODED = enum.auto()
    INPUTS_LOADED = enum.auto()
    STAGE_RAN = enum.auto()
    OUTPUT_STORING = enum.auto()
    OUTPUT_STORED = enum.auto()
    FILE_STORING = enum.auto()
    FILE_STORED = enum.auto()
    EVENTS_PUBLISHING = enum.auto()
    EVENTS_PUBLISHED = enum.auto()
    TASK_ACKING = enum.auto()
    TASK_ACKED = enum.auto()
    REFUSAL_ACKING = enum.auto()
    REFUSAL_ACKED = enum.auto()

    # Worker: its other work
    POISON_PUBLISHING = enum.auto()
    POISON_PUBLISHED = enum.auto()
    POISON_ACKED = enum.auto()
    BUFFER_RETURNING = enum.auto()
    BUFFER_RETURNED = enum.auto()
    SURPLUS_RETURNING = enum.auto()
    SURPLUS_RETURNED = enum.auto()
    CONTROL_ACKING = enum.auto()
    CONTROL_ACKED = enum.auto()
    BEAT_PUBLISHING = enum.auto()
    BEAT_PUBLISHED = enum.auto()


class Action(enum.StrEnum):
    """What happens at a point: SIGKILL, SIGSTOP, an exception, or a frozen event loop."""

    KILL = enum.auto()
    STOP = enum.auto()
    RAISE = enum.auto()
    DELAY = enum.auto()


class FailpointError(BaseException):
    """Ends the process through all its ``finally`` blocks.

    No Exception: a handler that takes those for bad data or for a fault of a stage must not take this one.
    """


@dataclasses.dataclass(frozen=True, slots=True)
class Armed:
    """The action happens once, when the point is reached for the ``nth`` time; ``seconds`` are those of a delay."""

    point: Failpoint
    action: Action
    nth: int = 1
    seconds: float = DELAY_SECONDS


# The one state of a process that is not handed around: a line must be able to reach its point without being given it.
_armed: dict[Failpoint, Armed] = {}
_reached: dict[Failpoint, int] = {}


def parse(text: str) -> frozenset[Armed]:
    """What a specification such as ``task_acking:kill:3,event_published:delay=2`` arms; raises ValueError."""
    found = [_parsed(part.strip()) for part in text.split(",") if part.strip()]
    if len({armed.point for armed in found}) < len(found):
        raise ValueError("a point is armed twice; arm each point once")
    return frozenset(found)


def _parsed(part: str) -> Armed:
    match = _SPEC.fullmatch(part)
    if match is None:
        raise ValueError(f"{part!r} is not name:action:nth; write for example task_acking:kill:3")
    name, action = match["point"], match["action"]
    if name not in Failpoint.__members__.values():
        raise ValueError(f"{name!r} is no failpoint; choose one of {', '.join(Failpoint)}")
    if action not in Action.__members__.values():
        raise ValueError(f"{action!r} is no action; choose one of {', '.join(Action)}")
    if match["seconds"] is not None and action != Action.DELAY:
        raise ValueError(f"{part!r} gives seconds to {action}; only delay takes them")
    return Armed(Failpoint(name), Action(action), int(match["nth"] or 1), float(match["seconds"] or DELAY_SECONDS))


def arm(points: Iterable[Armed]) -> None:
    """Arms these points of this process and no others; each is counted from now."""
    _armed.clear()
    _reached.clear()
    _armed.update((armed.point, armed) for armed in points)
    for armed in _armed.values():
        log.warning("failpoint %s is armed to %s at its time %d", armed.point, armed.action, armed.nth)


def armed(point: Failpoint) -> bool:
    """Whether the point still has its action before it."""
    return point in _armed


def reach(point: Failpoint) -> None:
    """Does what the point is armed with; a look at an empty dictionary where nothing is armed."""
    if _armed:
        _count(point)


def _count(point: Failpoint) -> None:
    found = _armed.get(point)
    if found is None:
        return
    _reached[point] = _reached.get(point, 0) + 1
    if _reached[point] == found.nth:
        del _armed[point]
        log.warning("failpoint %s was reached: %s", point, found.action)
        _act(found)


def _act(found: Armed) -> None:
    match found.action:
        case Action.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Action.STOP:
            os.kill(os.getpid(), signal.SIGSTOP)
        case Action.RAISE:
            raise FailpointError(f"failpoint {found.point} was armed to raise")
        case Action.DELAY:
            # Blocks the whole event loop on purpose: nothing of the process may go on meanwhile.
            time.sleep(found.seconds)
