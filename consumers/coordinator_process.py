"""The coordinator process, put together."""

import asyncio
import datetime

from consumers.coordinator import service
from consumers.coordinator.manifests import Store
from contracts.messages import TaskKey
from contracts.refs import DataRef
from infra import census, documents, exporter, failpoints, health, objects
from infra.failpoints import Failpoint
from infra.settings import Settings


async def run(settings: Settings, port: int | None, stop: asyncio.Event) -> None:
    """Coordinates until ``stop`` is set."""
    failpoints.arm(settings.failpoint)
    state = health.Health("coordinator", {"session": "starting"})
    async with (
        exporter.exporting("coordinator", settings.traces_endpoint, settings.traces_ratio),
        health.serve(state, settings.health_host, port),
        objects.of(settings, threads=4) as bucket,
        census.connect(settings) as taken,
    ):
        state.census = taken.text
        await service.run(settings, _store(bucket), stop, state)


def _store(bucket: objects.Objects) -> Store:
    """How the coordinator writes manifests; it has no way to read one."""

    async def store(key: TaskKey, client: str, day: datetime.date, document: bytes) -> DataRef:
        failpoints.reach(Failpoint.MANIFEST_STORING)
        ref = await bucket.put(documents.Place(client, day, key), document, schema="Inputs")
        failpoints.reach(Failpoint.MANIFEST_STORED)
        return ref

    return store
