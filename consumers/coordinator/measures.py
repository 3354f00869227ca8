"""What a coordinator measures of committed transactions: waiting, outcomes, and what did not count."""

import datetime
import functools
from collections import Counter
from collections.abc import Iterable

from consumers.coordinator.engine.snapshot import Snapshot
from consumers.coordinator.outcome import Outcome
from contracts.executions import StepExecution
from contracts.stages import ACCEPT_AFTER
from contracts.states import EXECUTION_OVER, STEP_OFFERED, STEP_OVER, STEP_TRIED, ExecutionStatus, StepStatus
from contracts.tiers import Tier
from infra import metrics, registries
from infra.registries import Histogram

_NONE = "none"



def expect(stages: Iterable[str], templates: Iterable[str]) -> None:
    """Has everything that is counted of these begin at 0: a counter that appears with its first failure, or its first
    execution, has not risen as far as Prometheus can see."""
    for tier in Tier:
        metrics.ADMISSION_WAIT.labels(tier.value)
    for stage in stages:
        metrics.expect_coordination(stage)
        for tier in Tier:
            _queue_wait(stage, tier.value)
            _ended(stage, tier.value)
    for template in templates:
        for tier in Tier:
            _finished(template, tier.value)
            _execution_seconds(template, tier.value)


def note(outcome: Outcome) -> None:
    """Counts what a transaction came to."""
    for reason, number in outcome.ignored.items():
        metrics.IGNORED.labels(reason).inc(number)
    for answer, number in outcome.answered.items():
        metrics.JOBS.labels(answer).inc(number)
    for execution, message in outcome.finished:
        tier = execution.tier.value
        _finished(execution.template, tier)[message.status].inc()
        _execution_seconds(execution.template, tier).observe(message.seconds)
    tally = _Tally()
    for before, after in outcome.changed:
        _admission(before, after)
        tier = after.execution.tier.value
        for place, row in after.rows.items():
            old = before.rows.get(place)
            if old is not None and old is not row:
                _step(tally, tier, old, row, outcome.at)
    for (stage, tier, status), number in tally.ended.items():
        _ended(stage, tier)[status].inc(number)
    for stage, number in tally.attempts.items():
        metrics.ATTEMPTS.labels(stage).inc(number)


def batch(kind: str, number: int, seconds: float) -> None:
    """Measures a batch of so many messages that is committed."""
    metrics.BATCH_MESSAGES.labels(kind).observe(number)
    metrics.BATCH_SECONDS.labels(kind).observe(seconds)


def ways(short: int, long: int) -> None:
    """Counts the events of a batch by the way they took."""
    metrics.EVENTS.labels("short").inc(short)
    metrics.EVENTS.labels("long").inc(long)


def hop(seconds: float) -> None:
    """Measures the way of events through the coordinator, to the confirms of what follows from them."""
    metrics.HOP_SECONDS.observe(seconds)


class _Tally:
    """What a transaction's steps came to, to be counted at once."""

    def __init__(self) -> None:
        self.ended: Counter[tuple[str, str, StepStatus]] = Counter()
        self.attempts: Counter[str] = Counter()


def _admission(before: Snapshot, after: Snapshot) -> None:
    old, new = before.execution.status, after.execution.status
    if old is not ExecutionStatus.QUEUED or new is not ExecutionStatus.RUNNING:
        return
    # What was resumed or reopened waits for a slot again; since when, its submission does not tell.
    if all(row.status is StepStatus.PENDING and row.attempt == 1 for row in before.rows.values()):
        metrics.ADMISSION_WAIT.labels(after.execution.tier.value).observe(after.execution.seconds)


def _step(
    tally: _Tally, tier: str, old: StepExecution, row: StepExecution, now: datetime.datetime | None
) -> None:
    if row.status in STEP_OVER and old.status not in STEP_OVER:
        tally.ended[row.stage, tier, row.status] += 1
    if old.status not in STEP_OFFERED:
        return
    if (waited := _waited(old, row, now)) is not None:
        _queue_wait(old.stage, tier).observe(waited)
    again = row.attempt == old.attempt + 1 and row.epoch == old.epoch
    if again or row.status in STEP_TRIED:
        tally.attempts[old.stage] += 1
    if again:
        error_class = _NONE if row.error_class is None else row.error_class.value
        metrics.RETRIES.labels(old.stage, error_class).inc()


def _waited(old: StepExecution, row: StepExecution, now: datetime.datetime | None) -> float | None:
    """Seconds from the offer of a task until a worker began it, None unless this is the moment that shows it."""
    if old.status is not StepStatus.DISPATCHED or old.dispatched_at is None or now is None:
        return None
    passed = (now - old.dispatched_at).total_seconds()
    if row.status is StepStatus.RUNNING:
        # A worker tells of a first attempt when it has lasted so long, of a further one at once.
        return max(0.0, passed - (ACCEPT_AFTER if row.attempt == 1 else 0.0))
    if row.metrics is old.metrics:
        return None
    return max(0.0, passed - row.metrics.get("seconds", 0.0))


# To find a labelled metric takes longer than to count with it, so what is counted for each task is kept. An outcome is
# there with all others that could have been.


@functools.cache
def _queue_wait(stage: str, tier: str) -> Histogram:
    return metrics.QUEUE_WAIT.labels(stage, tier)


@functools.cache
def _ended(stage: str, tier: str) -> dict[StepStatus, registries.Counter]:
    return {status: metrics.STEPS.labels(stage, tier, status.value) for status in STEP_OVER}


@functools.cache
def _finished(template: str, tier: str) -> dict[ExecutionStatus, registries.Counter]:
    return {status: metrics.EXECUTIONS.labels(template, tier, status.value) for status in EXECUTION_OVER}


@functools.cache
def _execution_seconds(template: str, tier: str) -> Histogram:
    return metrics.EXECUTION_SECONDS.labels(template, tier)
