"""What is wrong with a factory, in words, the gravest first: a judgement of one look at it and of nothing else."""

import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence

from contracts.states import StepStatus
from infra import census
from infra.views import SILENT_SECONDS
from producer.depths import Depth
from producer.overview import BROKER, DATABASE, RATE_SECONDS, Snapshot, Work

BEHIND_SECONDS = 120.0
"""A task that nobody has begun for so long is late."""

GONE_SECONDS = 90.0
"""What a worker held is with others by then."""

NEWS_SECONDS = 3600.0
"""Dead letters that came before are known to somebody."""

OWED_SECONDS = 60.0
FAILING = 0.5
FEW = 4
"""Of fewer attempts no part is taken for a sign."""


@dataclasses.dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong, or that is only to be known, where ``grave`` is false.

    ``seconds`` is for how long it has been so, None where no server tells; with ``least`` it may be longer. ``key``
    stays while the trouble does.
    """

    key: str
    text: str
    seconds: float | None = None
    grave: bool = True
    least: bool = False


def troubles(snapshot: Snapshot) -> list[Trouble]:
    """Everything that is wrong, then everything that is to be known; none of the first is health."""
    found = [*_away(snapshot)]
    for row in snapshot.queues or ():
        found.extend(_queue(row, snapshot))
    if snapshot.work is not None:
        found.extend(_work(snapshot.work, snapshot.at))
    merged = _merged(found)
    return [t for t in merged if t.grave] + [t for t in merged if not t.grave]


def _away(snapshot: Snapshot) -> Iterator[Trouble]:
    for server in (DATABASE, BROKER):
        if server in snapshot.away:
            yield Trouble(server, f"the {server} does not answer: {snapshot.away[server]}")


def late(row: Depth, snapshot: Snapshot) -> bool:
    """Whether the tasks of a queue wait for too long though their stage is not paused."""
    return row.oldest is not None and row.oldest > BEHIND_SECONDS and row.stage not in snapshot.paused_stages


def unattended(row: Depth, snapshot: Snapshot) -> bool:
    """Whether a queue holds what nobody takes. A paused stage has no consumers; where nothing waits, none is missed."""
    family = row.queue.partition(".")[0]
    if row.consumers != 0 or row.stage in snapshot.paused_stages or row.stage in snapshot.served_stages:
        return False
    return family in ("jobs", "events", "dead-letters") or (family == "stage" and bool(row.depth))


def _queue(row: Depth, snapshot: Snapshot) -> Iterator[Trouble]:
    if row.depth is None:
        yield Trouble("missing", f"queue {row.queue} is missing: run 'factory migrate'")
    elif unattended(row, snapshot):
        if row.stage is None:
            yield Trouble("coordinator", "no coordinator works: jobs and events wait for one")
        else:
            yield Trouble(f"unattended {row.stage}", f"no worker takes {row.stage}", row.oldest)
    elif late(row, snapshot):
        yield Trouble(f"late {row.stage}", f"{row.stage} is behind: its oldest task waits", row.oldest)


def _work(work: Work, now: datetime.datetime) -> Iterator[Trouble]:
    if work.stuck:
        told = f"{_number(work.stuck, 'execution')} will not move: nothing is on its way"
        yield Trouble("stuck", told, census.STUCK_SECONDS, least=True)
    if work.owed_seconds > OWED_SECONDS:
        told = f"{_number(work.owed, 'message')} of the coordinator cannot be published"
        yield Trouble("owed", told, work.owed_seconds)
    ended = work.ended
    if ended.steps >= FEW and ended.steps_failed >= FAILING * ended.steps:
        told = f"{ended.steps_failed} of {ended.steps} steps failed in the last {RATE_SECONDS:.0f} s"
        yield Trouble("failing", told)
    if work.letters:
        number = sum(group.letters for group in work.letters)
        oldest, newest = (max(g.oldest for g in work.letters), min(g.newest for g in work.letters))
        told = f"{_number(number, 'dead letter')} for a person to judge, the oldest there"
        yield Trouble("letters", told, oldest, newest < NEWS_SECONDS)
    for worker in work.workers:
        if worker.silent > SILENT_SECONDS and worker.in_flight:
            told = f"worker {worker.id} is silent, its tasks go to others"
            yield Trouble(f"silent {worker.id}", told, worker.silent, worker.silent < GONE_SECONDS)
    for pause in work.pauses:
        note = f" ({pause.note})" if pause.note else ""
        told = f"{pause.kind} {pause.name} is paused by {pause.actor}{note}"
        age = max((now - pause.created_at).total_seconds(), 0.0)
        yield Trouble(f"paused {pause.kind} {pause.name}", told, age, False)
    retrying = sum(1 for e in work.under_way for p in e.present if p.status is StepStatus.WAITING)
    if retrying:
        yield Trouble("waiting", f"{_number(retrying, 'step')} wait for another attempt", None, False)


def seen(
    before: Mapping[str, datetime.datetime], found: Sequence[Trouble], now: datetime.datetime
) -> dict[str, datetime.datetime]:
    """Since when each trouble has been there: for as long as a server says, which can be shorter than before, or else
    since it was seen first."""
    known = {}
    for trouble in found:
        first = before.get(trouble.key, now)
        told = now - datetime.timedelta(seconds=trouble.seconds or 0.0)
        known[trouble.key] = min(first, told) if trouble.seconds is None or trouble.least else told
    return known


def _number(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"


def _merged(found: list[Trouble]) -> list[Trouble]:
    """The four queues of a stage are one trouble, as old as the oldest of them."""
    kept: dict[str, Trouble] = {}
    for trouble in found:
        known = kept.get(trouble.key)
        if known is None or (known.seconds or 0.0) < (trouble.seconds or 0.0):
            kept[trouble.key] = trouble
    return list(kept.values())
