"""How full the queues are: what waits, for how long, what is being worked on, and by how many."""

import dataclasses

from contracts import registry, topology
from contracts.tiers import Tier
from infra import broker, database, management, waits
from infra.delivery import NotFoundError
from infra.settings import Settings

SHARED = (topology.DEAD_LETTERS, topology.HEARTBEATS)


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
    held = await _held(configured)
    found = []
    async with broker.connect(configured.amqp_url, name="factory queues") as link:
        for name, of_stage, tier in _queues(stage):
            try:
                depth, consumers = await link.inspect(name)
            except NotFoundError:
                found.append(Depth(name, of_stage, tier, None, None, None, None))
                continue
            age = ages.get((of_stage, tier)) if of_stage is not None and tier is not None else None
            found.append(Depth(name, of_stage, tier, depth, age, consumers, held.get(name)))
    return found


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


async def _held(configured: Settings) -> dict[str, int]:
    if not configured.amqp_admin_url:
        return {}
    try:
        async with management.connect(configured.amqp_admin_url, configured.amqp_url) as api:
            return await api.unacknowledged()
    except management.ManagementError:
        return {}  # the rest is known without the API
