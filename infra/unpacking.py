"""Bodies of HTTP responses, unpacked in small steps so that whoever counts the bytes can stop in time."""

import zlib
from collections.abc import Iterator
from typing import Protocol

STEP = 64 * 1024
GZIP = b"\x1f\x8b"


class Decoder(Protocol):
    """Turns the chunks of a body into its content."""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The content of one chunk in parts of at most 64 KiB if it was packed; raises zlib.error for nonsense."""
        ...

    def complete(self) -> bool:
        """Whether the content may end here."""
        ...


class Plain:
    """A body that is sent as it is."""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The chunk itself."""
        yield chunk

    def complete(self) -> bool:
        """Always true: the length of the body is the client library's to check."""
        return True


class Inflater:
    """A body packed with gzip or deflate."""

    def __init__(self) -> None:
        self._stream: zlib._Decompress | None = None
        self._gzip = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The content of one chunk; what follows the end of the packed data is padding, unless a gzip member begins."""
        while chunk:
            if self._stream is None:
                self._stream = self._open(chunk)
            elif self._stream.eof:
                if not (self._gzip and chunk[0] == GZIP[0]):
                    return
                self._stream = self._open(chunk)
            yield self._stream.decompress(chunk, STEP)
            chunk = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail

    def _open(self, chunk: bytes) -> "zlib._Decompress":
        self._gzip = chunk[0] == GZIP[0]
        # Servers send deflate with and without the zlib header (RFC 9110, 8.4.1.2), whose first byte names method 8.
        headed = self._gzip or chunk[0] & 0x0F == 8
        return zlib.decompressobj(zlib.MAX_WBITS | 32 if headed else -zlib.MAX_WBITS)

    def complete(self) -> bool:
        """Whether the packed data has come to its own end."""
        return self._stream is None or self._stream.eof


def decoder(encoding: str) -> Decoder | None:
    """What unpacks a body of this Content-Encoding; None for one that is not understood."""
    match encoding.strip().lower():
        case "" | "identity":
            return Plain()
        case "gzip" | "x-gzip" | "deflate":
            return Inflater()
        case _:
            return None
