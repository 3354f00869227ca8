"""A worker process, put together."""

import asyncio
from collections.abc import Iterable

from consumers import handlers
from consumers.runtime import equipment, worker
from infra import failpoints, health
from infra.settings import Settings


async def run(
    settings: Settings, port: int | None, stop: asyncio.Event, stages: Iterable[str], concurrency: int | None
) -> None:
    """Does the tasks of these stages, of all if none is named, until ``stop`` is set."""
    failpoints.arm(settings.failpoint)
    state = health.Health("worker", {"session": "starting"})
    chosen = handlers.choose(stages)
    async with health.serve(state, port), equipment.equip(settings) as equipped:
        await worker.run(settings, equipped, chosen, concurrency or settings.worker_concurrency, stop, state)
