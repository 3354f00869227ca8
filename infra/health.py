"""Whether a process is alive and ready, and what it measures, for people, for supervisors and for Prometheus."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from infra import metrics, registries

LAG_SECONDS = 1.0
"""Between two looks at how late the event loop comes."""


@dataclasses.dataclass(slots=True)
class Health:
    """What a process says of itself; it is ready while no fault is noted.

    ``census`` gives further metrics in Prometheus' text format, where the process can tell any.
    """

    process: registries.Process
    faults: dict[str, str] = dataclasses.field(default_factory=dict)
    census: Callable[[], Awaitable[bytes]] | None = None

    def fault(self, part: str, reason: str) -> None:
        """Notes why a part of the process cannot work."""
        self.faults[part] = reason

    def mended(self, part: str) -> None:
        """Takes back what was noted about a part."""
        self.faults.pop(part, None)


@contextlib.asynccontextmanager
async def serve(health: Health, host: str, port: int | None) -> AsyncIterator[None]:
    """Answers ``/health``, ``/ready``, the latter with 503 and the reasons, and ``/metrics``; no port, no server."""
    if port is None:
        yield
        return

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"process": health.process})

    async def ready(_: web.Request) -> web.Response:
        return web.json_response(
            {"process": health.process, "faults": health.faults}, status=503 if health.faults else 200
        )

    async def measured(_: web.Request) -> web.Response:
        metrics.READY.set(not health.faults)
        further = b"" if health.census is None else await health.census()
        body = metrics.exposition(health.process) + further
        return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})

    application = web.Application()
    application.add_routes([web.get("/health", alive), web.get("/ready", ready), web.get("/metrics", measured)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    lag = asyncio.create_task(_watch_lag())
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        lag.cancel()
        await runner.cleanup()


async def _watch_lag() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_SECONDS
        await asyncio.sleep(LAG_SECONDS)
        metrics.LAG.set(max(0.0, loop.time() - due))
