"""How the steps of an execution lie in time: what each waited and ran, and which of them decided when it ended."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal
from uuid import UUID

from contracts.refs import DataRef
from contracts.states import STEP_OVER, StepStatus
from infra import database, timings, views
from infra.timings import Cost, Repeat, ShardTimes, Times
from producer.watching import Progress

SLOWEST = 3

Kind = Literal["waiting", "running", "retry", "earlier"]


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in seconds from the submission: in the queue, at work, held back before another attempt, or an
    attempt of before, of which is only known when it ended."""

    kind: Kind
    began: float
    ended: float


@dataclasses.dataclass(frozen=True, slots=True)
class Slow:
    """A shard that took long."""

    shard: int
    status: StepStatus
    seconds: float
    attempt: int
    worker: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Fan:
    """The first ``counted`` shards of a step together; ``median`` is that of their times of work."""

    counted: int
    first_began: float | None
    last_ended: float | None
    median: float | None
    slowest: Sequence[Slow]


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A step in time. ``waited`` and ``ran`` are those of its last attempt, of a fan-out those of the first shard that
    began and of all together. ``level`` is the length of the longest way to it. Money is in millionths."""

    step: str
    stage: str
    status: StepStatus
    depends_on: tuple[str, ...]
    level: int
    attempt: int
    retries: int
    began: float | None
    ended: float | None
    waited: float | None
    ran: float | None
    spans: Sequence[Span]
    critical: bool
    cost: Cost | None
    output: DataRef | None
    fan: Fan | None


@dataclasses.dataclass(frozen=True, slots=True)
class Waterfall:
    """All steps of an execution; ``admitted`` is when it got its slot, ``seconds`` its length until its end or now."""

    seconds: float
    admitted: float | None
    rows: Sequence[Row]


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """What the database tells about the times of an execution."""

    times: Mapping[str, Times]
    shards: Mapping[str, Sequence[ShardTimes]]
    repeats: Sequence[Repeat]
    costs: Mapping[str, Cost]


async def read(connection: database.Connection, execution_id: UUID, steps: Sequence[views.Step]) -> Known:
    """What the database tells now."""
    times = {one.step: one for one in await timings.steps(connection, execution_id)}
    fanned = [step.step for step in steps if step.shards is not None]
    return Known(
        times,
        {step: await timings.shards(connection, execution_id, step) for step in fanned},
        await timings.repeats(connection, execution_id),
        await timings.costs(connection, execution_id),
    )


def made(progress: Progress, known: Known) -> Waterfall:
    """The waterfall of an execution."""
    execution = progress.execution
    started = execution.started_at
    admitted = None if started is None else (started - execution.created_at).total_seconds()
    now = execution.seconds
    rows: dict[str, Row] = {}
    for step in progress.steps:
        ready = max((rows[name].ended or 0.0 for name in step.depends_on if name in rows), default=admitted or 0.0)
        rows[step.step] = _row(step, known, rows, max(ready, admitted or 0.0), now)
    critical = _critical(rows)
    return Waterfall(now, admitted, [dataclasses.replace(r, critical=r.step in critical) for r in rows.values()])


def _row(step: views.Step, known: Known, rows: Mapping[str, Row], ready: float, now: float) -> Row:
    times = known.times.get(step.step)
    shards = known.shards.get(step.step, ())
    parts = [(one, _shard(one, now)) for one in shards]
    spans = _laid_over(parts) if parts else _spans(step, times, known.repeats, ready, now)
    fan = _fan(parts) if parts else None
    finished = times.finished if times is not None and step.status in STEP_OVER else None
    return Row(
        step=step.step,
        stage=step.stage,
        status=step.status,
        depends_on=step.depends_on,
        level=max((rows[name].level + 1 for name in step.depends_on if name in rows), default=0),
        attempt=step.attempt,
        retries=step.retries + (step.shards.retries if step.shards else 0),
        began=spans[0].began if spans else None,
        ended=finished if finished is not None or not spans else max(span.ended for span in spans),
        waited=_waited(spans, fan, shards),
        ran=_ran(spans, fan),
        spans=spans,
        critical=False,
        cost=known.costs.get(step.step),
        output=step.output,
        fan=fan,
    )


def _waited(spans: Sequence[Span], fan: Fan | None, shards: Sequence[ShardTimes]) -> float | None:
    if fan is not None:
        offered = min((one.offered for one in shards if one.offered is not None), default=None)
        return None if fan.first_began is None or offered is None else fan.first_began - offered
    return next((span.ended - span.began for span in reversed(spans) if span.kind == "waiting"), None)


def _ran(spans: Sequence[Span], fan: Fan | None) -> float | None:
    running = [span for span in spans if span.kind == "running"]
    if not running:
        return None
    return running[-1].ended - (running[0] if fan is not None else running[-1]).began


def _attempt(
    offered: float | None, started: float | None, finished: float | None, worked: float | None, now: float
) -> list[Span]:
    """One attempt: in the queue, then at work. What a worker says of its time fits between offer and end."""
    if offered is None:
        return []
    end = now if finished is None else max(finished, offered)
    if finished is not None and worked is not None:
        began = min(max(end - worked, offered), end)
    elif started is not None:
        began = min(max(started, offered), end)
    else:
        return [Span("waiting", offered, end)]
    return [Span("waiting", offered, began), Span("running", began, end)]


def _spans(step: views.Step, times: Times | None, repeats: Sequence[Repeat], ready: float, now: float) -> list[Span]:
    """A step's attempts since it was opened last. Of those of before the timeline has the end and the pause that
    followed. Where one of them ended after the last offer, the offer was its own and no other followed."""
    if times is None or step.status in (StepStatus.PENDING, StepStatus.SKIPPED):
        return []
    opened = times.opened or 0.0
    earlier = [r for r in repeats if r.step == step.step and (times.opened is None or r.ended > opened)]
    held_back = step.status is StepStatus.WAITING or _ended_after(times.offered, earlier[-1].ended if earlier else None)
    offered = None if held_back else times.offered
    until = next((moment for moment in (offered, times.finished) if moment is not None), now)
    spans: list[Span] = []
    place = max(ready, opened)
    for repeat in earlier:
        if repeat.ended > place:
            spans.append(Span("earlier", place, repeat.ended))
        place = max(place, repeat.ended)
        held = min(place + repeat.wait, until)
        if held > place:
            spans.append(Span("retry", place, held))
            place = held
    last = _attempt(offered, times.started, times.finished, times.worked, now)
    if spans and last and last[0].began > place:
        spans.append(Span("retry", place, last[0].began))
    return [*spans, *last]


def _ended_after(offered: float | None, ended: float | None) -> bool:
    """Whether an attempt that was followed by another ended after the last offer, which then was its own."""
    return offered is not None and ended is not None and ended > offered


def _shard(one: ShardTimes, now: float) -> list[Span]:
    """The last attempt at a shard, or the one before, where the last was not offered."""
    if not (one.status is StepStatus.WAITING or _ended_after(one.offered, one.repeated)):
        return _attempt(one.offered, one.started, one.finished, one.worked, now)
    if one.offered is None or one.repeated is None or one.repeated <= one.offered:
        return []
    return [Span("earlier", one.offered, one.repeated)]


Parts = Sequence[tuple[ShardTimes, Sequence[Span]]]
"""Shards with their attempts."""


def _laid_over(parts: Parts) -> list[Span]:
    """Shards laid over each other: where any waited, where any was at work, and where any that now waits to be tried
    again was tried before."""
    kinds: Sequence[Kind] = ("waiting", "running", "earlier")
    spans = [span for kind in kinds for span in _joined([s for _, told in parts for s in told if s.kind == kind])]
    return sorted(spans, key=lambda s: (s.began, s.kind != "waiting"))


def _joined(spans: list[Span]) -> list[Span]:
    found: list[Span] = []
    for span in sorted(spans, key=lambda s: s.began):
        if found and span.began <= found[-1].ended:
            found[-1] = dataclasses.replace(found[-1], ended=max(found[-1].ended, span.ended))
        else:
            found.append(span)
    return found


def _fan(parts: Parts) -> Fan:
    worked = [(span, one) for one, spans in parts for span in spans if span.kind == "running"]
    seconds = sorted(span.ended - span.began for span, _ in worked)
    slowest = sorted(worked, key=lambda pair: pair[0].began - pair[0].ended)[:SLOWEST]
    ended = [one.finished for one, _ in parts if one.finished is not None]
    return Fan(
        counted=len(parts),
        first_began=min((span.began for span, _ in worked), default=None),
        last_ended=max(ended) if len(ended) == len(parts) else None,
        median=seconds[len(seconds) // 2] if seconds else None,
        slowest=[Slow(one.shard, one.status, s.ended - s.began, one.attempt, one.worker) for s, one in slowest],
    )


def _critical(rows: Mapping[str, Row]) -> frozenset[str]:
    """From the step that ended last back to the beginning, each time over the dependency that ended last."""
    worked = {name: row.ended for name, row in rows.items() if row.spans and row.ended is not None}
    found: set[str] = set()
    candidates = list(worked)
    while candidates:
        last = max(candidates, key=lambda name: worked[name])
        found.add(last)
        candidates = [name for name in rows[last].depends_on if name in worked and name not in found]
    return frozenset(found)
