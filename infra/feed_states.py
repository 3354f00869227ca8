"""How a feed is, judged by what has been seen of it, and when it is asked again: functions of recorded facts alone."""

import dataclasses
import datetime
from typing import Literal

from infra import freshness

State = Literal["healthy", "degraded", "dormant", "gone"]
Fault = Literal["", "gone", "missing", "failing", "unreadable"]
"""Why it could not be read last: 410, then 404 or a name without address, then any other failure, then no feed."""

STATES: tuple[State, ...] = ("healthy", "degraded", "dormant", "gone")

SOME = 3
"""Failures in a row that are more than a bad moment."""

LOST = datetime.timedelta(days=14)
"""Missing for so long, a feed counts as gone: names lapse and sites move, and some come back within days."""

QUIET = datetime.timedelta(days=90)
"""Without a new entry for so long, a feed is dormant."""

HOUR, DAY, WEEK = 3600.0, 86_400.0, 604_800.0

BACKOFF_BASE, BACKOFF_CAP = 15.0, DAY
"""Seconds within which the first failure is followed by another try, short enough that a report can wait for it, and
the most that failures can make of it."""

DORMANT_SECONDS = 6 * HOUR
"""Between two looks at a dormant feed at least."""

GONE_SECONDS = WEEK
"""Between two looks at a feed that is gone: rarely, and never never."""

UNCONDITIONAL = 4
"""How many times the least interval passes between two looks at a feed whose every answer is the whole of it."""

MOVES = 2
"""How often a permanent redirect is seen until the source counts as moved: one could be a mistake of an hour."""


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What has been seen of a feed. ``renewed_at`` is when it was last seen to list something else than before, or, for
    a first look, the date of its newest entry; ``failures`` are those in a row up to now."""

    first_at: datetime.datetime
    succeeded_at: datetime.datetime | None = None
    renewed_at: datetime.datetime | None = None
    failures: int = 0
    failing_since: datetime.datetime | None = None
    fault: Fault = ""


def state(facts: Facts, now: datetime.datetime) -> State:
    """The state that the facts amount to."""
    failing_for = now - facts.failing_since if facts.failing_since is not None else datetime.timedelta()
    if facts.fault == "gone" or (facts.fault == "missing" and facts.failures >= SOME and failing_for >= LOST):
        return "gone"
    if facts.failures >= SOME:
        return "degraded"
    if facts.renewed_at is not None and now - facts.renewed_at >= QUIET:
        return "dormant"
    return "healthy"


def succeeded(facts: Facts, now: datetime.datetime, *, renewed: datetime.datetime | None) -> Facts:
    """The facts after it was read; ``renewed`` is None where it lists what it listed before."""
    return dataclasses.replace(
        facts,
        succeeded_at=now,
        renewed_at=facts.renewed_at if renewed is None else min(renewed, now),
        failures=0,
        failing_since=None,
        fault="",
    )


def failed(facts: Facts, fault: Fault, now: datetime.datetime) -> Facts:
    """The facts after it could not be read."""
    # What was missing and now fails in another way may be there: the time of missing it starts anew.
    lasting = facts.failing_since if facts.fault == fault or fault != "missing" else None
    return dataclasses.replace(facts, failures=facts.failures + 1, failing_since=lasting or now, fault=fault)


def pause(facts: Facts, now: datetime.datetime, chance: float) -> float:
    """Seconds for which a feed that has just failed is left alone; ``chance`` lies in [0, 1).

    Exponential with full jitter (Brooker, "Exponential Backoff And Jitter", AWS, 2015) up to a day, for ever: nothing
    is given up, since sites come back after any time. One that is gone is asked about once a week.
    """
    if state(facts, now) == "gone":
        return GONE_SECONDS * (0.75 + 0.5 * chance)
    return backoff(facts.failures, BACKOFF_BASE, chance)


def backoff(failures: int, base: float, chance: float) -> float:
    """Seconds to wait after so many failures in a row, of which the first is waited out within ``base`` seconds."""
    return chance * min(BACKOFF_CAP, base * 2.0 ** min(failures - 1, 30))


def interval(of: State, lifetime: float, least: float, *, conditional: bool) -> float:
    """Seconds until a page that was read is asked for again: what its server says, within bounds.

    ``lifetime`` is how long the answer is fresh by its server; ``least`` what the operator sets, which a server can
    raise and not lower. Without validators every look costs the whole page, so looks are fewer.
    """
    bound = least if conditional else UNCONDITIONAL * least
    if of == "dormant" and least > 0:
        bound = max(bound, DORMANT_SECONDS)
    return max(min(lifetime, freshness.LONGEST), bound)
