"""The whole factory at one moment, as a value: what waits, runs and failed, who works, and what cannot be told."""

import asyncio
import contextlib
import dataclasses
import datetime
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import UUID

from contracts.errors import FactoryError
from contracts.states import ExecutionStatus
from contracts.tiers import Tier
from infra import broker, census, database, overview, pauses, views, waits
from infra.overview import Ended, Letters, UnderWay
from infra.pauses import Pause
from infra.settings import Settings
from infra.views import Worker
from producer import depths, watching, waterfall
from producer.depths import Depth
from producer.watching import Progress
from producer.waterfall import Waterfall

T = TypeVar("T")

RATE_SECONDS = 60.0
COUNT_LIMIT = 10_000
"""Executions of a status are counted up to here."""

HEARD_SECONDS = 600.0
"""Workers that were silent for longer are not shown any more."""

PATIENCE = 8.0
"""Seconds until a server that does not answer is taken to be away."""

HELD_SECONDS = 5.0
"""How long what the management API said is used: it knows nothing newer."""

DATABASE, BROKER = "database", "broker"

Ages = Mapping[tuple[str, Tier], float]
"""For how long the oldest task of a stage and tier has waited."""


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """How many executions of a tier are in a status, up to ten thousand of a status; ``longest`` is the longest wait of
    queued ones in seconds."""

    status: str
    tier: str
    executions: int
    longest: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """What the database knows. ``owed`` counts messages that are not published yet, ``owed_seconds`` is the age of the
    oldest; ``stuck`` counts running executions of which nothing is on its way."""

    executions: Sequence[Standing]
    stuck: int
    owed: int
    owed_seconds: float
    ended: Ended
    under_way: Sequence[UnderWay]
    workers: Sequence[Worker]
    letters: Sequence[Letters]
    pauses: Sequence[Pause]


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at the factory. ``work`` and ``queues`` are None where their server is away, and ``away`` says why."""

    at: datetime.datetime
    work: Work | None
    queues: Sequence[Depth] | None
    away: Mapping[str, str]

    @property
    def paused_stages(self) -> frozenset[str]:
        """The stages of which no task is to be taken."""
        return frozenset(p.name for p in self.work.pauses if p.kind == "stage") if self.work else frozenset()


    @property
    def served_stages(self) -> frozenset[str]:
        """The stages of workers that are heard of; one that is busy with slow tasks consumes nothing meanwhile."""
        heard = (w for w in self.work.workers if w.silent <= views.SILENT_SECONDS) if self.work else ()
        return frozenset(stage for worker in heard for stage in worker.stages)


class Source:
    """Connections to the servers of a factory, made anew when they are lost. Looks are taken one after another."""

    def __init__(self, configured: Settings) -> None:
        self._settings = configured
        self._pool: database.Pool | None = None
        self._link: broker.Connection | None = None
        self._databases = contextlib.AsyncExitStack()
        self._brokers = contextlib.AsyncExitStack()
        self._leaving: set[asyncio.Task[Any]] = set()
        self._held: tuple[float, Mapping[str, int]] = (-HELD_SECONDS, MappingProxyType({}))

    async def look(self) -> Snapshot:
        """The factory now, all servers asked at the same time; a server that is away is told of and no error."""
        away: dict[str, str] = {}
        told, found, held = await asyncio.gather(self._database(away), self._broker(away), self._with_consumers())
        work, ages = told if told is not None else (None, {})
        queues = None if found is None else depths.joined(found, ages, held)
        return Snapshot(datetime.datetime.now(datetime.UTC), work, queues, away)

    async def _database(self, away: dict[str, str]) -> tuple[Work, Ages] | None:
        try:
            return await self._asked(self._work())
        except (FactoryError, database.Failure, *database.UNAVAILABLE) as error:
            away[DATABASE] = _reason(error)
            return None

    async def _broker(self, away: dict[str, str]) -> depths.Counts | None:
        try:
            async with asyncio.timeout(PATIENCE):
                if self._link is None:
                    link = broker.connect(self._settings.amqp_url, name="factory top")
                    self._link = await self._brokers.enter_async_context(link)
                return await depths.counts(self._link)
        except (FactoryError, TimeoutError) as error:
            away[BROKER] = _reason(error)
            self._leave_broker()
            return None

    async def _asked(self, reading: Coroutine[None, None, T]) -> T:
        """What the database answers in time. To give a connection back that hangs takes long: that happens aside."""
        task = asyncio.create_task(reading)
        self._aside(task)
        try:
            done, _ = await asyncio.wait({task}, timeout=PATIENCE)
            if not done:
                self._leave_database()
                raise TimeoutError
            return task.result()
        finally:
            task.cancel()

    def _leave_database(self) -> None:
        left, self._databases, self._pool = self._databases, contextlib.AsyncExitStack(), None
        self._aside(asyncio.create_task(left.aclose()))

    def _leave_broker(self) -> None:
        left, self._brokers, self._link = self._brokers, contextlib.AsyncExitStack(), None
        self._aside(asyncio.create_task(left.aclose()))

    def _aside(self, task: asyncio.Task[Any]) -> None:
        """Lets a task end while the looks go on."""
        self._leaving.add(task)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[Any]) -> None:
        self._leaving.discard(task)
        if not task.cancelled():
            task.exception()  # which is told to whoever waits for the task

    async def _with_consumers(self) -> Mapping[str, int]:
        asked, held = self._held
        if time.monotonic() - asked >= HELD_SECONDS:
            held = await depths.held(self._settings, held)
            self._held = (time.monotonic(), held)
        return held

    async def execution(self, execution_id: UUID) -> tuple[Progress, Waterfall]:
        """One execution in time; raises FactoryError where there is none, or where the database is away."""
        try:
            return await self._asked(self._drawn(execution_id))
        except (database.Failure, *database.UNAVAILABLE) as error:
            raise FactoryError(f"the database does not answer: {_reason(error)}") from error

    async def _drawn(self, execution_id: UUID) -> tuple[Progress, Waterfall]:
        async with (await self._connected()).acquire() as connection:
            progress = await watching.look(connection, execution_id)
            return progress, waterfall.made(progress, await waterfall.read(connection, execution_id, progress.steps))

    async def _connected(self) -> database.Pool:
        if self._pool is None:
            pool = database.connect(self._settings.database_url, application="factory top", size=1)
            self._pool = await self._databases.enter_async_context(pool)
        return self._pool

    async def _work(self) -> tuple[Work, Ages]:
        async with (await self._connected()).acquire() as connection:
            longest = await census.longest_queued(connection)
            living = await census.living(connection, COUNT_LIMIT)
            owed, owed_seconds = await census.owed(connection, COUNT_LIMIT)
            work = Work(
                executions=[
                    Standing(status, tier, number, longest.get(tier) if status == ExecutionStatus.QUEUED else None)
                    for (status, tier), number in sorted(living.items())
                ],
                stuck=await census.stuck(connection),
                owed=owed,
                owed_seconds=owed_seconds,
                ended=await overview.ended(connection, RATE_SECONDS),
                under_way=await overview.under_way(connection),
                workers=await views.workers(connection, HEARD_SECONDS),
                letters=await overview.letters(connection),
                pauses=await pauses.all_of(connection),
            )
            return work, await waits.oldest_offers(connection)

    async def close(self) -> None:
        """Leaves the servers."""
        self._leave_broker()
        self._leave_database()
        await asyncio.gather(*self._leaving, return_exceptions=True)


@contextlib.asynccontextmanager
async def source(configured: Settings) -> AsyncIterator[Source]:
    """Looks at a factory, whether or not its servers answer now."""
    made = Source(configured)
    try:
        yield made
    finally:
        await made.close()


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
