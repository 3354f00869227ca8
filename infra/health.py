"""Whether a process is alive and ready, for people and for supervisors."""

import contextlib
import dataclasses
from collections.abc import AsyncIterator

from aiohttp import web


@dataclasses.dataclass(slots=True)
class Health:
    """What a process says of itself; it is ready while no fault is noted."""

    process: str
    faults: dict[str, str] = dataclasses.field(default_factory=dict)

    def fault(self, part: str, reason: str) -> None:
        """Notes why a part of the process cannot work."""
        self.faults[part] = reason

    def mended(self, part: str) -> None:
        """Takes back what was noted about a part."""
        self.faults.pop(part, None)


@contextlib.asynccontextmanager
async def serve(health: Health, port: int | None) -> AsyncIterator[None]:
    """Answers ``/health`` and ``/ready`` on loopback, the latter with 503 and the reasons; no port, no server."""
    if port is None:
        yield
        return

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"process": health.process})

    async def ready(_: web.Request) -> web.Response:
        return web.json_response(
            {"process": health.process, "faults": health.faults}, status=503 if health.faults else 200
        )

    application = web.Application()
    application.add_routes([web.get("/health", alive), web.get("/ready", ready)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield
    finally:
        await runner.cleanup()
