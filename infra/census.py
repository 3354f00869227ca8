"""What the database alone knows of the factory's state, as Prometheus metrics.

It is read when somebody asks a coordinator for its metrics, and is the same whichever coordinator is asked: a query
takes the greatest value over them (``max``), not the sum.
"""

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Literal, get_args

import structlog
from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from contracts.states import ExecutionStatus
from contracts.tiers import Tier
from infra import budgets, database, domains, metrics, pauses, repairs, sources, statements
from infra.registries import Described
from infra.settings import Settings

SQL = statements.load("census")

log = structlog.get_logger()

COUNT_LIMIT = 100_000
"""Executions of a status are counted up to here, so that a long line costs no more."""

STUCK_SECONDS = 300.0
"""Without any task on its way for so long, a running execution will not move by itself."""

FRESH_SECONDS = 1.0
"""However often somebody asks, a census is taken no sooner than this after the last."""

WAIT_SECONDS = 0.5
"""For a census that is being taken; it usually takes a twentieth of that."""

OLD_SECONDS = 150.0
"""When a census is not worth telling any more: two answers are never so far apart."""

TIMEOUT = 30.0
"""Seconds that a census may take."""

NEAR = 0.9
"""Part of a month's budget from which on a client is near its limit."""


def _described(name: str, kind: Literal["counter", "gauge"], labels: tuple[str, ...], explanation: str) -> Described:
    return Described(name, kind, labels, "coordinator", explanation)


EXECUTIONS = _described(
    "factory_executions", "gauge", ("status", "tier"), "Executions that are queued, running or paused."
)
QUEUED_SECONDS = _described(
    "factory_executions_queued_seconds",
    "gauge",
    ("tier",),
    "For how long the first in line of any client has waited for a slot, the longest of the tier.",
)
SLOTS = _described("factory_slots", "gauge", (), "Executions that may run at the same time.")
STUCK = _described(
    "factory_executions_stuck",
    "gauge",
    (),
    f"Running executions of which nothing has been on its way for {STUCK_SECONDS:.0f} seconds.",
)
TASKS = _described("factory_tasks", "gauge", ("stage", "tier", "status"), "Tasks that are not over.")
TASK_AGE = _described(
    "factory_tasks_oldest_seconds",
    "gauge",
    ("stage", "tier"),
    "Age of the oldest offer of a task that no worker has begun.",
)
PAUSED = _described(
    "factory_stages_paused", "gauge", ("stage",), "1 for each stage that a person has paused; others are left out."
)
DEAD_LETTERS = _described("factory_dead_letters", "gauge", ("kind", "reason"), "Dead letters that are open.")
DEAD_LETTER_AGE = _described(
    "factory_dead_letters_oldest_seconds", "gauge", (), "Age of the oldest open dead letter, 0 where there is none."
)
OWED = _described("factory_outbox_messages", "gauge", (), "Messages that are owed and not confirmed yet.")
OWED_AGE = _described("factory_outbox_oldest_seconds", "gauge", (), "Age of the oldest message that is owed.")
WORKERS = _described("factory_workers", "gauge", ("stage",), "Worker processes that were heard of within a lease.")
REPAIRS = _described(
    "factory_repairs_total", "counter", ("kind",), "What was put right between database and broker. Normally nothing."
)
RESERVED = _described(
    "factory_budget_reserved_dollars", "gauge", ("tier",), "US dollars of this month set aside for calls under way."
)
SPENT = _described("factory_budget_spent_dollars", "gauge", ("tier",), "US dollars spent this month.")
NEAR_LIMIT = _described(
    "factory_budget_clients_near_limit",
    "gauge",
    ("tier",),
    f"Clients that have used at least {NEAR:.0%} of their budget of this month.",
)

FEEDS = _described("factory_feeds", "gauge", ("status",), "Feeds that were ever read, by the state they were found in.")
HELD = _described("factory_domains_on_hold", "gauge", (), "Sites that have refused and are left alone for a while.")

TABLE: tuple[Described, ...] = (
    *(EXECUTIONS, QUEUED_SECONDS, SLOTS, STUCK, TASKS, TASK_AGE, PAUSED, DEAD_LETTERS, DEAD_LETTER_AGE, OWED, OWED_AGE),
    *(WORKERS, REPAIRS, RESERVED, SPENT, NEAR_LIMIT, FEEDS, HELD),
)

LIVING = (ExecutionStatus.QUEUED, ExecutionStatus.RUNNING, ExecutionStatus.PAUSED)

Samples = list[tuple[tuple[str, ...], float]]
"""Values by the values of the labels, in their order."""


async def take(
    connection: database.Connection, slots: int, lease: float, limit: int = COUNT_LIMIT
) -> dict[Described, Samples]:
    """The state of the factory now; ``lease`` is in seconds, and executions of a status are counted up to ``limit``."""
    found: dict[Described, Samples] = {described: [] for described in TABLE}
    found[SLOTS] = [((), slots)]
    counted = await living(connection, limit)
    cells = itertools.product(map(str, LIVING), map(str, Tier))
    found[EXECUTIONS] = [(cell, counted.get(cell, 0)) for cell in cells]
    found[QUEUED_SECONDS] = [((tier,), seconds) for tier, seconds in (await longest_queued(connection)).items()]
    found[STUCK] = [((), await stuck(connection))]
    rows = await connection.fetch(SQL["count_tasks"])
    found[TASKS] = [((row["stage"], row["tier"], row["status"]), row["tasks"]) for row in rows]
    found[TASK_AGE] = [((row["stage"], row["tier"]), row["oldest"]) for row in rows if row["oldest"] is not None]
    found[PAUSED] = [((stage,), 1) for stage in await pauses.stages(connection)]
    await _letters(connection, found, limit)
    rows = await connection.fetch(SQL["count_workers"], lease)
    found[WORKERS] = [((row["stage"],), row["workers"]) for row in rows]
    made = {repair.kind: repair.number for repair in await repairs.listing(connection)}
    found[REPAIRS] = [((kind,), made.get(kind, 0)) for kind in get_args(repairs.Kind)]
    rows = await connection.fetch(SQL["money"], NEAR)
    found[RESERVED] = [((row["tier"],), row["reserved"] / budgets.DOLLAR) for row in rows]
    found[SPENT] = [((row["tier"],), row["spent"] / budgets.DOLLAR) for row in rows]
    found[NEAR_LIMIT] = [((row["tier"],), row["near"]) for row in rows]
    found[FEEDS] = [((state,), feeds) for state, feeds in (await sources.states(connection)).items()]
    found[HELD] = [((), len(await domains.held(connection)))]
    return found


async def living(connection: database.Connection, limit: int) -> dict[tuple[str, str], int]:
    """How many executions are in each status that is no end, by status and tier, each status up to the limit."""
    rows = await connection.fetch(SQL["count_executions"], limit)
    return {(row["status"], row["tier"]): row["executions"] for row in rows}


async def longest_queued(connection: database.Connection) -> dict[str, float]:
    """For how many seconds the first in line of any client has waited for a slot, by tier."""
    return {row["tier"]: row["seconds"] for row in await connection.fetch(SQL["longest_queued"])}


async def stuck(connection: database.Connection) -> int:
    """How many running executions will not move by themselves."""
    (row,) = await connection.fetch(SQL["count_stuck"], STUCK_SECONDS)
    found: int = row["executions"]
    return found


async def owed(connection: database.Connection, limit: int) -> tuple[int, float]:
    """How many messages are owed and not confirmed, up to the limit, and for how many seconds the oldest has been."""
    (row,) = await connection.fetch(SQL["count_owed"], limit)
    return row["messages"], row["oldest"]


async def _letters(connection: database.Connection, found: dict[Described, Samples], limit: int) -> None:
    rows = await connection.fetch(SQL["count_dead_letters"])
    found[DEAD_LETTERS] = [((row["kind"], row["reason"]), row["letters"]) for row in rows]
    found[DEAD_LETTER_AGE] = [((), max((row["oldest"] for row in rows), default=0.0))]
    messages, oldest = await owed(connection, limit)
    found[OWED] = [((), messages)]
    found[OWED_AGE] = [((), oldest)]


class _Taken:
    def __init__(self, found: Mapping[Described, Samples]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        """What Prometheus' client calls when it writes."""
        for described, samples in self._found.items():
            family = _family(described)
            for labels, value in samples:
                family.add_metric(labels, value)
            yield family


def _family(described: Described) -> GaugeMetricFamily | CounterMetricFamily:
    kind = CounterMetricFamily if described.kind == "counter" else GaugeMetricFamily
    return kind(described.name, described.explanation, labels=described.labels)


def text(found: Mapping[Described, Samples]) -> bytes:
    """A census in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Taken(found))
    return exposition.generate_latest(registry)


class Census:
    """Takes a census when it is asked for one, on a connection of its own: work waits for none of it."""

    def __init__(self, pool: database.Pool, slots: int, lease: float) -> None:
        """``slots`` are the factory's; ``lease`` is in seconds."""
        self._pool = pool
        self._slots = slots
        self._lease = lease
        self._taken = b""
        self._at = -math.inf
        self._taking: asyncio.Task[None] | None = None

    async def text(self) -> bytes:
        """The latest census in Prometheus' text format.

        What the process itself measures must not wait for a slow database: a census that takes longer is told by the
        next answer. One that is too old is not told any more.
        """
        if self._taking is None and time.monotonic() - self._at >= FRESH_SECONDS:
            self._taking = asyncio.create_task(self._take())
        if self._taking is not None:
            await asyncio.wait([self._taking], timeout=WAIT_SECONDS)
        known = time.monotonic() - self._at < OLD_SECONDS
        metrics.CENSUS_UP.set(known)
        return self._taken if known else b""

    async def close(self) -> None:
        """Ends what is under way."""
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.gather(self._taking, return_exceptions=True)

    async def _take(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT), self._pool.acquire() as connection:
                found = await take(connection, self._slots, self._lease)
            self._taken, self._at = text(found), time.monotonic()
        except (database.Failure, *database.UNAVAILABLE) as error:
            # A database that is away is told of at once; one that is slow is not.
            self._at = -math.inf
            log.warning("census_failed", error=type(error).__name__)
        finally:
            self._taking = None


@contextlib.asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Census]:
    """A census of the factory with these settings. Raises DatabaseError if the server cannot be reached."""
    async with database.connect(settings.database_url, application="factory metrics", size=1, by_index=True) as pool:
        census = Census(pool, settings.slots, settings.lease_seconds)
        try:
            yield census
        finally:
            await census.close()
