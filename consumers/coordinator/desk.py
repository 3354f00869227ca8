"""What the loops of one coordinator share while its connections hold."""

import asyncio
import collections
import dataclasses
import datetime
import time
from collections.abc import Sequence
from uuid import UUID

import structlog

from consumers.coordinator import measures, publishing, traces
from consumers.coordinator.engine.effects import Offer
from consumers.coordinator.engine.snapshot import Snapshot
from consumers.coordinator.manifests import Store
from consumers.coordinator.outcome import Ended, Outcome
from consumers.coordinator.traces import Parents
from consumers.coordinator.transitions import State
from contracts.messages import TaskKey
from contracts.states import EXECUTION_OVER, STEP_TRIED, StepStatus
from contracts.tiers import Tier
from infra import tracing
from infra.broker import Connection
from infra.health import Health
from infra.publisher import Publisher
from infra.settings import Settings

log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class Patience:
    """How many seconds to wait before something is taken for lost, all in proportion to the lease (30 s)."""

    lease: float

    @property
    def owed(self) -> float:
        """Before a publish that was not confirmed is made again; longer than a publish may take (10 s)."""
        return self.lease / 2

    @property
    def empty(self) -> float:
        """Between two looks at an empty queue that both must find it empty."""
        return self.lease / 2

    @property
    def unheld(self) -> float:
        """Before a published task that no worker holds is looked for."""
        return self.lease * 2

    @property
    def compare(self) -> float:
        """Between two comparisons of the broker with what the factory needs of it."""
        return self.lease * 2

    @property
    def overdue(self) -> float:
        """Beyond a task's time-out before the worker that still holds it is given up."""
        return self.lease * 2


class Evidence:
    """For each queue, up to when its tasks must have been handed out: later ones started long ago."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ages: list[dict[tuple[str, Tier], datetime.datetime]] = [{}, {}, {}]
        self._turned = time.monotonic()

    def started(self, stage: str, tier: Tier, dispatched_at: datetime.datetime) -> None:
        """A task of this queue that was dispatched then has started now."""
        newest = self._ages[0]
        newest[stage, tier] = max(dispatched_at, newest.get((stage, tier), dispatched_at))

    def until(self, stage: str, tier: Tier) -> datetime.datetime | None:
        """Tasks of this queue published before that time were handed out long ago, or are lost."""
        while time.monotonic() - self._turned >= self._seconds:
            self._turned += self._seconds
            newest, older, oldest = self._ages
            self._ages = [{}, newest, {**oldest, **older}]
        return self._ages[2].get((stage, tier))


class Currency:
    """Since when heartbeats have been read without a gap, by a clock that goes on while the process is frozen."""

    GAP_SECONDS = 3.0

    def __init__(self) -> None:
        self._since = self._last = time.monotonic()

    def tick(self) -> None:
        """Called each second; a longer pause means that heartbeats were missed."""
        now = time.monotonic()
        if now - self._last > self.GAP_SECONDS:
            self._since = now
        self._last = now

    def lost(self) -> None:
        """Heartbeats could not be recorded."""
        self._since = self._last = time.monotonic()

    def seconds(self) -> float:
        """For how long the record of heartbeats has been complete."""
        self.tick()
        return time.monotonic() - self._since


@dataclasses.dataclass(slots=True)
class Desk:
    """The state of a coordinator between its loops; everything that must outlive it is in the database."""

    settings: Settings
    state: State
    incoming: Connection
    publisher: Publisher
    store: Store
    health: Health
    offering: set[TaskKey] = dataclasses.field(default_factory=set)
    refused: int = 0
    confirmed: dict[TaskKey, float] = dataclasses.field(default_factory=dict)
    admission: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    pauses: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    retries: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    doubt: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    prepare: asyncio.Queue[tuple[TaskKey, str | None]] = dataclasses.field(default_factory=asyncio.Queue)
    """Steps whose inputs are to be gathered, each with the span that has made it ready."""
    changed: dict[UUID, Snapshot] = dataclasses.field(default_factory=dict)
    ignored: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    currency: Currency = dataclasses.field(default_factory=Currency)
    patience: Patience = dataclasses.field(init=False)
    evidence: Evidence = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.patience = Patience(self.settings.lease_seconds)
        self.evidence = Evidence(self.patience.unheld)

    async def deliver(self, outcome: Outcome, parents: Parents = traces.NONE) -> None:
        """Publishes what a committed transaction owes, and wakes the loops that have work by it."""
        self.note(outcome)
        await self.send(outcome, parents)

    async def send(self, outcome: Outcome, parents: Parents = traces.NONE) -> None:
        """Publishes what a committed transaction owes that was noted before; ``parents`` are the spans behind it."""
        for key in outcome.prepare:
            self.prepare.put_nowait((key, parents.get(key.execution_id)))
        with traces.ending(traces.finishing(outcome, parents)):
            if outcome.tasks:
                await self.offer(outcome.tasks, parents)
            if outcome.owed:
                await publishing.publish_owed(self.state.pool, self.publisher, outcome.owed)

    async def offer(self, tasks: Sequence[Offer], parents: Parents = traces.NONE) -> int:
        """Publishes tasks; returns how many of them the broker has confirmed."""
        keys = {offer.task.key for offer in tasks}
        self.offering |= keys
        try:
            confirmed = await publishing.publish_tasks(self.publisher, tasks, parents, self.doubt)
        finally:
            self.offering -= keys
        self.confirmed |= dict.fromkeys(confirmed, time.monotonic())
        return len(confirmed)

    def note(self, outcome: Outcome) -> None:
        """Remembers what a committed transaction came to, and measures it."""
        self.state.remember(outcome)
        measures.note(outcome)
        if outcome.finished:
            self.admission.set()
            for ended in outcome.finished:
                _log_end(ended)
        self.ignored += outcome.ignored
        for before, after in outcome.changed:
            if after.execution.status in EXECUTION_OVER:
                self.changed.pop(after.id, None)
            else:
                self.changed[after.id] = after
            for place, row in after.rows.items():
                old = before.rows.get(place)
                if old is row or old is None:
                    continue
                if row.status is StepStatus.WAITING:
                    self.retries.set()
                # A task that was begun was published: nobody asks any more whether that was noted.
                self.confirmed.pop(old.key, None)
                begun = row.status is StepStatus.RUNNING or row.status in STEP_TRIED
                if old.status is StepStatus.DISPATCHED and begun and old.dispatched_at is not None:
                    self.evidence.started(old.stage, after.execution.tier, old.dispatched_at)


def _log_end(ended: Ended) -> None:
    execution, message = ended
    log.info(
        "execution_finished",
        outcome=message.status.value,
        execution=str(execution.id),
        trace=tracing.trace_id(execution.traceparent),
        client=execution.client,
        template=execution.template,
        tier=execution.tier.value,
        seconds=round(message.seconds, 3),
    )
