"""The coordinator process: connections, proof, and the loops that run until one of them breaks."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine

import structlog

from consumers import sessions
from consumers.coordinator import (
    beats,
    clock,
    holds,
    measures,
    mortuary,
    notifications,
    proof,
    reconciler,
    requeueing,
    retention,
    settling,
    spending,
    sweeper,
)
from consumers.coordinator.desk import Desk
from consumers.coordinator.engine.tools import Tools
from consumers.coordinator.library import Library
from consumers.coordinator.manifests import Store
from consumers.coordinator.transitions import State
from contracts import topology
from infra import broker, database, expressions, templates
from infra.delivery import BrokerError
from infra.health import Health
from infra.settings import Settings

log = structlog.get_logger()

WATCH_SECONDS = 30.0

Work = Coroutine[None, None, None]
Start = Callable[[Work], None]
"""Begins what runs beside everything else until the session ends."""


async def run(settings: Settings, store: Store, stop: asyncio.Event, health: Health) -> None:
    """Coordinates until ``stop`` is set. What is not acknowledged by then comes again, here or elsewhere."""
    tools = Tools(evaluate=expressions.value, random=random.SystemRandom().random)
    async with database.connect(settings.database_url, application="factory coordinator", by_index=True) as pool:
        state = State(pool, Library(), tools)
        await sessions.repeat(lambda: _session(settings, state, store, stop, health), health, stop)


async def _session(settings: Settings, state: State, store: Store, stop: asyncio.Event, health: Health) -> None:
    """Works until a connection breaks. Two connections, because a broker in need blocks those that publish, and must
    not block those that acknowledge."""
    async with (
        broker.connect(settings.amqp_url, name="coordinator, consuming") as incoming,
        broker.connect(settings.amqp_url, name="coordinator, publishing") as outgoing,
        asyncio.TaskGroup() as group,
    ):
        tasks: list[asyncio.Task[None]] = []

        def start(work: Work) -> None:
            tasks.append(group.create_task(work))

        try:
            for connection in (incoming, outgoing):
                start(connection.watch())
            desk = Desk(settings, state, incoming, await outgoing.publisher(), store, health)
            await _prove(desk, start)
            await _expect(desk)
            await _work(desk, start)
            await stop.wait()
        finally:
            await sessions.end(tasks)


async def _prove(desk: Desk, start: Start) -> None:
    """Raises ProofError before any work is taken if something that the guarantees rest on is missing."""
    await proof.database_is_current(desk.state.pool)
    # What was deleted while nobody looked must be there again before it is consumed.
    await sweeper.attempt(desk, "topology", reconciler.restore)
    await proof.policies_are_in_force(desk.settings.amqp_admin_url, desk.settings.amqp_url)
    start(mortuary.receive(desk, await mortuary.consume(desk)))
    await proof.dead_letters_arrive(desk)


async def _expect(desk: Desk) -> None:
    async with desk.state.pool.acquire() as connection:
        stages = await templates.registered(connection)
        listed = await templates.listing(connection)
    measures.expect(stages, {row["name"] for row in listed})


async def _work(desk: Desk, start: Start) -> None:
    start(beats.record(desk, await beats.consume(desk)))
    jobs = await settling.consume(desk, topology.jobs_queue, settling.JOB_BATCH)
    events = await settling.consume(desk, topology.events_queue, desk.settings.batch_size)
    start(settling.settle_jobs(desk, jobs))
    start(settling.settle_events(desk, events))
    for loop in _loops(desk):
        start(loop)
    desk.admission.set()
    desk.health.mended("session")
    log.info("coordinator_ready")


def _loops(desk: Desk) -> list[Work]:
    sweep = desk.settings.sweep_seconds
    regular: list[tuple[str, float, Callable[[Desk], Awaitable[None]]]] = [
        ("published", sweeper.NOTE_SECONDS, sweeper.note_published),
        ("owed", sweep, sweeper.sweep_owed),
        ("leases", sweep, sweeper.sweep_leases),
        ("lost", desk.patience.empty, reconciler.LostTasks().sweep),
        ("cancels", sweeper.SNAPSHOT_SECONDS, sweeper.publish_cancels),
        ("notifications", notifications.SECONDS, notifications.notify),
        ("budgets", sweep, spending.expire),
        ("house", sweeper.HOUSE_SECONDS, sweeper.keep_house),
        ("consumers", WATCH_SECONDS, _watch_consumers),
        ("currency", 1.0, _tick),
        ("dead letters", requeueing.SECONDS, requeueing.carry_out),
        ("unread", requeueing.UNREAD_SECONDS, requeueing.Unreadable().requeue),
    ]
    loops = [sweeper.every(desk, name, seconds, work) for name, seconds, work in regular]
    loops += [sweeper.admit(desk), sweeper.prepare(desk), retention.run(desk)]
    return [*loops, clock.run(desk), reconciler.run(desk), holds.hold(desk)]


async def _tick(desk: Desk) -> None:
    desk.currency.tick()


async def _watch_consumers(desk: Desk) -> None:
    """Ends the session when the broker knows no consumer of a queue that this process believes to consume."""
    for queue in proof.consumed_queues():
        _, consumers = await desk.incoming.inspect(queue)
        if consumers == 0:
            raise BrokerError(f"the broker has no consumer of '{queue}'")
