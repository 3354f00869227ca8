"""A worker process, put together."""

import asyncio
from collections.abc import Iterable

from consumers import handlers
from consumers.runtime import equipment, worker
from contracts.stages import MOST_AT_ONCE
from infra import exporter, failpoints, health
from infra.settings import Settings, SettingsError


async def run(
    settings: Settings, port: int | None, stop: asyncio.Event, stages: Iterable[str], concurrency: int | None
) -> None:
    """Does the tasks of these stages, of all if none is named, until ``stop`` is set."""
    slots = settings.worker_concurrency if concurrency is None else concurrency
    if not 1 <= slots <= MOST_AT_ONCE:
        name = "FACTORY_WORKER_CONCURRENCY" if concurrency is None else "--concurrency"
        raise SettingsError(
            f"{name}={slots} is out of range: give 1 to {MOST_AT_ONCE}, and start more workers for more."
        )
    failpoints.arm(settings.failpoint)
    state = health.Health("worker", {"session": "starting"})
    chosen = handlers.choose(stages)
    async with (
        exporter.exporting("worker", settings.traces_endpoint, settings.traces_ratio),
        health.serve(state, settings.health_host, port),
        equipment.equip(settings) as equipped,
    ):
        await worker.run(settings, equipped, chosen, slots, stop, state)
