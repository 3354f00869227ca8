"""A TCP proxy on loopback that behaves like a bad network: it passes, holds, refuses, cuts, slows and falsifies."""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import AsyncIterator, Callable
from typing import Literal

Way = Literal["there", "back"]
"""From the client to the server, or from the server to the client."""

WAYS: tuple[Way, ...] = ("there", "back")
CHUNK = 65536
MUTE_SECONDS = 0.5
"""How long a sprung trap lets the server work on what it got before the connection is reset."""

Tamper = Callable[[bytes], bytes | None]
"""What to hand on in the place of a chunk from the server; None resets the connection."""


@dataclasses.dataclass(frozen=True)
class Pace:
    """How slow the network is: seconds of delay for each chunk, a random addition, bytes a second, size of a slice."""

    delay: float = 0.0
    jitter: float = 0.0
    rate: float = 0.0
    slice_bytes: int = CHUNK


class Trap:
    """Waits for bytes on their way there; the ``nth`` time it resets the connection before anything comes back."""

    def __init__(self, pattern: bytes, nth: int) -> None:
        self.pattern = pattern
        self.left = nth
        self.sprung = asyncio.Event()


@dataclasses.dataclass(eq=False)
class Link:
    """One connection through the proxy; a muted one swallows what comes back."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    muted: bool = False
    seen: bytes = b""

    def abort(self) -> None:
        """Reset both ends."""
        for writer in self.writers:
            writer.transport.abort()


class Proxy:
    """Passes bytes on as its mode says; connections made after a cut pass again."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._links: set[Link] = set()
        self._passable = {way: asyncio.Event() for way in WAYS}
        self._traps: list[Trap] = []
        self._refusing = False
        self.pace: Pace | None = None
        self.tamper: Tamper | None = None
        self.port = 0
        self.mend()

    def cut(self) -> None:
        """Reset every connection that is open now."""
        for link in list(self._links):
            link.abort()

    def hole(self, *ways: Way) -> None:
        """Let nothing pass these ways, both if none is named; what was sent arrives when it is mended."""
        for way in ways or WAYS:
            self._passable[way].clear()

    def refuse(self) -> None:
        """Reset every connection that is open, and every further one as soon as it is made."""
        self._refusing = True
        self.cut()

    def trap(self, pattern: bytes, nth: int = 1) -> Trap:
        """Set a trap for bytes on their way there."""
        trap = Trap(pattern, nth)
        self._traps.append(trap)
        return trap

    def mend(self) -> None:
        """Pass everything at full speed; traps that were not sprung are taken away."""
        self._refusing, self.pace, self.tamper = False, None, None
        self._traps.clear()
        for event in self._passable.values():
            event.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            if self._refusing:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        link = Link((writer, far_writer))
        self._links.add(link)
        try:
            await asyncio.gather(
                self._pump(link, reader, far_writer, "there"), self._pump(link, far_reader, writer, "back")
            )
        finally:
            self._links.discard(link)

    async def _pump(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(CHUNK):
                await self._passable[way].wait()
                trap = self._sprung(link, chunk) if way == "there" else None
                if way == "back":
                    chunk = self._falsified(link, chunk)
                await self._send(writer, chunk)
                if trap is not None:
                    await asyncio.sleep(MUTE_SECONDS)
                    link.abort()
                    trap.sprung.set()
        writer.close()

    def _falsified(self, link: Link, chunk: bytes) -> bytes:
        if link.muted:
            return b""
        if self.tamper is None:
            return chunk
        false = self.tamper(chunk)
        if false is None:
            link.abort()
            return b""
        return false

    def _sprung(self, link: Link, chunk: bytes) -> Trap | None:
        """The trap that this chunk springs; the connection is mute before the server can answer."""
        for trap in self._traps:
            before = link.seen[-len(trap.pattern) + 1 :] if len(trap.pattern) > 1 else b""
            trap.left -= (before + chunk).count(trap.pattern)
            if trap.left <= 0:
                self._traps.remove(trap)
                link.muted = True
                return trap
        link.seen = chunk[-256:]
        return None

    async def _send(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        pace = self.pace
        if pace is None:
            writer.write(chunk)
            await writer.drain()
            return
        for start in range(0, len(chunk), pace.slice_bytes):
            piece = chunk[start : start + pace.slice_bytes]
            seconds = pace.delay + random.random() * pace.jitter
            await asyncio.sleep(seconds + (len(piece) / pace.rate if pace.rate else 0.0))
            writer.write(piece)
            await writer.drain()


@contextlib.asynccontextmanager
async def to(host: str, port: int) -> AsyncIterator[Proxy]:
    """A proxy in front of this address, listening on ``port``."""
    proxy = Proxy(host, port)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.mend()
        proxy.cut()
