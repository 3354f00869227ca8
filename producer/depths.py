"""How full the queues are: what waits, for how long, what is being worked on, and by how many."""

import asyncio
import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from contracts import registry, topology
from contracts.tiers import Tier
from infra import broker, database, management, waits
from infra.settings import Settings

SHARED = (topology.DEAD_LETTERS, topology.HEARTBEATS)

HELD_SECONDS = 2.0
"""How long the management API is waited for: it tells what is good to know and not needed."""

Counts = Mapping[str, tuple[int, int] | None]
"""Messages that wait and consumers of each queue, None for one that is missing."""


@dataclasses.dataclass(frozen=True, slots=True)
class Depth:
    """One queue. ``depth`` counts messages that wait, and is None where the queue is missing; ``oldest`` is in seconds
    and known for tasks only; ``unacknowledged`` is None where no management API tells it."""

    queue: str
    stage: str | None
    tier: Tier | None
    depth: int | None
    oldest: float | None
    consumers: int | None
    unacknowledged: int | None


async def depths(configured: Settings, connection: database.Connection, stage: str | None = None) -> list[Depth]:
    """Every queue, or those of one stage, the busiest tier first."""
    ages = await waits.oldest_offers(connection)
    unacknowledged = await held(configured)
    async with broker.connect(configured.amqp_url, name="factory queues") as link:
        return joined(await counts(link, stage), ages, unacknowledged, stage)


async def counts(link: broker.Connection, stage: str | None = None) -> Counts:
    """What the broker itself tells of these queues."""
    return await link.inspect_all(name for name, _, _ in _queues(stage))


def joined(
    found: Counts, ages: Mapping[tuple[str, Tier], float], unacknowledged: Mapping[str, int], stage: str | None = None
) -> list[Depth]:
    """The queues with what the broker, the database and the management API tell of them."""
    shown = []
    for name, of_stage, tier in _queues(stage):
        told = found[name]
        age = ages.get((of_stage, tier)) if of_stage is not None and tier is not None else None
        if told is None:
            shown.append(Depth(name, of_stage, tier, None, None, None, None))
        else:
            shown.append(Depth(name, of_stage, tier, told[0], age, told[1], unacknowledged.get(name)))
    return shown


def _queues(stage: str | None) -> list[tuple[str, str | None, Tier | None]]:
    tiers = list(reversed(Tier))
    stages = sorted(registry.specs()) if stage is None else [stage]
    found: list[tuple[str, str | None, Tier | None]] = [
        (topology.stage_queue(name, tier), name, tier) for name in stages for tier in tiers
    ]
    if stage is not None:
        return found
    jobs: list[tuple[str, str | None, Tier | None]] = [(topology.jobs_queue(tier), None, tier) for tier in tiers]
    events: list[tuple[str, str | None, Tier | None]] = [(topology.events_queue(tier), None, tier) for tier in tiers]
    return [*jobs, *found, *events, *((name, None, None) for name in SHARED)]


async def held(configured: Settings, known: Mapping[str, int] = MappingProxyType({})) -> Mapping[str, int]:
    """How many messages of each queue are with a consumer; what was ``known`` where no management API tells it soon."""
    if not configured.amqp_admin_url:
        return known
    try:
        async with asyncio.timeout(HELD_SECONDS):
            async with management.connect(configured.amqp_admin_url, configured.amqp_url) as api:
                return await api.unacknowledged()
    except (management.ManagementError, TimeoutError):
        return known
