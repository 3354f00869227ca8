"""The coordinator process, put together."""

import asyncio
import datetime

from consumers.coordinator import service
from consumers.coordinator.manifests import Store
from contracts.messages import TaskKey
from contracts.refs import DataRef
from infra import documents, health, objects
from infra.settings import Settings


async def run(settings: Settings, port: int | None, stop: asyncio.Event) -> None:
    """Coordinates until ``stop`` is set."""
    state = health.Health("coordinator", {"session": "starting"})
    async with health.serve(state, port), objects.of(settings, threads=4) as bucket:
        await service.run(settings, _store(bucket), stop, state)


def _store(bucket: objects.Objects) -> Store:
    """How the coordinator writes manifests; it has no way to read one."""

    async def store(key: TaskKey, client: str, day: datetime.date, document: bytes) -> DataRef:
        return await bucket.put(documents.Place(client, day, key), document, schema="Inputs")

    return store
