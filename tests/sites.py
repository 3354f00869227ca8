"""A web server on loopback that answers as a test tells it, and keeps what it was asked."""

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import aiohttp.abc
from aiohttp import web

Request = web.Request
Response = web.StreamResponse
Answer = Callable[[Request], Awaitable[Response]]


class Site:
    """What the paths of a server answer, and which requests came."""

    def __init__(self) -> None:
        self.address = ""
        self.answers: dict[str, Answer] = {}
        self.asked: list[web.Request] = []
        self.most = 0
        """How many requests were under way at the same time at most."""
        self._running = 0

    def __call__(self, path: str) -> list[Mapping[str, str]]:
        """The headers of the requests for a path, in their order."""
        return [request.headers for request in self.asked if request.path == path]

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Where a path is, under a host name that leads here."""
        return f"http://{host}:{self.address.rpartition(':')[2]}{path}"

    def says(self, path: str, body: str | bytes, status: int = 200, kind: str = "text/plain", **headers: str) -> None:
        """Has a path answer the same to everybody; underscores in names of headers are hyphens."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body.encode() if isinstance(body, str) else body

        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(body=content, status=status, headers={"Content-Type": kind, **told})

        self.answers[path] = answer

    def keeps(self, path: str, body: str | bytes, kind: str = "application/rss+xml", **headers: str) -> None:
        """Has a path answer 304 to whoever sends back a validator exactly as it stands in these headers."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body.encode() if isinstance(body, str) else body

        async def answer(request: web.Request) -> web.StreamResponse:
            sent = request.headers
            if "ETag" in told and "If-None-Match" in sent:  # it goes before the date (RFC 9110, section 13.2.2)
                same = sent["If-None-Match"] == told["ETag"]
            else:
                same = "Last-Modified" in told and sent.get("If-Modified-Since") == told["Last-Modified"]
            if same:
                return web.Response(status=304, headers=told)
            return web.Response(body=content, headers={"Content-Type": kind, **told})

        self.answers[path] = answer

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Keeps the request and answers it."""
        self.asked.append(request)
        self._running += 1
        self.most = max(self.most, self._running)
        try:
            answer = self.answers.get(request.path)
            return web.Response(status=404) if answer is None else await answer(request)
        finally:
            self._running -= 1


@contextlib.asynccontextmanager
async def serve(host: str = "127.0.0.1") -> AsyncIterator[Site]:
    """A site on a free port."""
    site = Site()
    application = web.Application()
    application.router.add_get("/{path:.*}", site.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0).start()
        site.address = "{}:{}".format(*runner.addresses[0])
        yield site
    finally:
        await runner.cleanup()


class Everywhere(aiohttp.abc.AbstractResolver):
    """A name server for which every name is loopback, but for those that it does not know."""

    def __init__(self, unknown: frozenset[str] = frozenset()) -> None:
        self.unknown = unknown

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        if host in self.unknown:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        """Nothing is held."""
