"""A web server on loopback for a folder of feeds, so that the real pipeline can be tried without the web."""

import contextlib
import types
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from aiohttp import web

LOOPBACK = "127.0.0.1"

CONTENT_TYPES: Mapping[str, str] = types.MappingProxyType({
    ".atom": "application/atom+xml",
    ".gz": "application/gzip",
    ".htm": "text/html",
    ".html": "text/html",
    ".json": "application/feed+json",
    ".rdf": "application/rdf+xml",
    ".rss": "application/rss+xml",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".xml": "application/xml",
})  # fmt: skip
"""No type names a character set: the documents declare their own, in many encodings."""


@contextlib.asynccontextmanager
async def serve(folder: Path, port: int = 0) -> AsyncIterator[str]:
    """Serve the files below a folder while the context lasts; yields the server's ``host:port``.

    The port is a free one by default. Files are sent as they are, with ETag and Last-Modified, and answered with 304
    where these still hold. The set of files is that of the start, so no path can lead out of the folder. Raises
    FileNotFoundError for a missing folder.
    """
    files = _files(folder)

    async def answer(request: web.Request) -> web.StreamResponse:
        path = files.get(request.match_info["path"])
        if path is None:
            raise web.HTTPNotFound(text="no such feed\n")
        kind = CONTENT_TYPES.get(path.suffix.lower(), "application/octet-stream")
        return web.FileResponse(path, headers={"Content-Type": kind})

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
        host, bound, *_ = runner.addresses[0]
        yield f"{host}:{bound}"
    finally:
        await runner.cleanup()


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; give one that holds feeds")
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
