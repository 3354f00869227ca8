"""Documents as bytes: where they are kept, how they are packed and verified, and a bounded cache of those read."""

import asyncio
import collections
import dataclasses
import datetime
import hashlib
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Literal

import zstandard

from contracts import errors, messages, refs

LIMIT = 64 * 1024 * 1024
"""No document is larger than this many bytes, packed or not, because it is held in memory as a whole."""

_LONGEST_NAME = 120
_SUFFIXES = {
    "application/json": "json",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
    "application/xml": "xml",
    "application/pdf": "pdf",
}

Encoding = Literal["zstd"] | None


@dataclasses.dataclass(frozen=True)
class Place:
    """Whose document it is, of which day, and which attempt wrote it."""

    tenant: str
    day: datetime.date
    task: messages.TaskKey


def key(place: Place, sha256: str, content_type: str, encoding: Encoding) -> str:
    """The key of a document: the same document of the same attempt has the same key, and no other document has it."""
    task = place.task
    suffix = _SUFFIXES.get(content_type.partition(";")[0].strip().lower(), "bin") + (".zst" if encoding else "")
    folder = f"{_segment(place.tenant)}/{place.day.isoformat()}/{task.execution_id}/{_segment(task.step)}"
    return f"{folder}/{task.shard}-{task.attempt}-{sha256[:32]}.{suffix}"


def _segment(name: str) -> str:
    """A name as one harmless part of a path; a long one keeps its beginning and ends in its hash."""
    quoted = urllib.parse.quote(name, safe="").replace(".", "%2E")
    if len(quoted) <= _LONGEST_NAME:
        return quoted
    return f"{quoted[:80]}~{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def is_text(document: bytes) -> bool:
    """Whether the bytes are UTF-8 that any reader of JSON can hold; Postgres refuses U+0000 in a jsonb value."""
    try:
        document.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in document


def pack(document: bytes) -> tuple[bytes, Encoding]:
    """The bytes to store and how they are encoded: packed only where that saves something."""
    body = zstandard.ZstdCompressor().compress(document)
    return (body, "zstd") if len(body) < 0.95 * len(document) else (document, None)


def check_stored_size(ref: refs.DataRef, size: int) -> None:
    """Raise InputGoneError unless an object of so many bytes can be what the reference names."""
    if size > ref.size if ref.encoding else size != ref.size:
        raise errors.InputGoneError(f"{ref.uri} has {size} stored bytes; its reference says {ref.size}")


def unpack(ref: refs.DataRef, body: bytes) -> bytes:
    """The document in a stored object; raises InputGoneError unless it is the one that the reference names.

    Nothing is unpacked further than the reference says, whatever the object claims of itself.
    """
    if ref.encoding is None:
        return _verified(ref, body)
    try:
        with zstandard.ZstdDecompressor(max_window_size=LIMIT).stream_reader(body) as reader:
            return _verified(ref, reader.read(ref.size + 1))
    except zstandard.ZstdError as error:
        raise errors.InputGoneError(f"{ref.uri} is damaged and cannot be unpacked: {error}") from error


def carried(ref: refs.DataRef) -> bytes:
    """The document that a reference carries itself; raises InputGoneError unless it is the one that it names."""
    return unpack(ref, (ref.data or "").encode())


def _verified(ref: refs.DataRef, document: bytes) -> bytes:
    if len(document) != ref.size:
        raise errors.InputGoneError(f"{ref.uri} holds {len(document)} bytes; its reference says {ref.size}")
    if hashlib.sha256(document).hexdigest() != ref.sha256:
        raise errors.InputGoneError(f"{ref.uri} is not the document of its reference: the SHA-256 differs")
    return document


class Cache:
    """Documents read lately, at most ``limit`` bytes of them; readers that meet on one document share its read."""

    def __init__(self, read: Callable[[refs.DataRef], Awaitable[bytes]], limit: int) -> None:
        self._read = read
        self._limit = limit
        self._size = 0
        self._kept: collections.OrderedDict[tuple[str, str], bytes] = collections.OrderedDict()
        self._reading: dict[tuple[str, str], asyncio.Task[bytes]] = {}

    async def get(self, ref: refs.DataRef) -> bytes:
        """The document, from memory if it was read before; errors are shared with those who wait, and not kept."""
        if ref.data is not None:
            return await self._read(ref)
        # The address belongs to the name: knowing a hash alone must not open another tenant's document.
        name = (ref.uri, ref.sha256)
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        if name not in self._reading:
            self._reading[name] = asyncio.create_task(self._fetch(name, ref))
            # Where all readers gave up, nobody is left to be told of an error.
            self._reading[name].add_done_callback(lambda task: task.cancelled() or task.exception())
        # A reader that gives up must not take the others' read with it.
        return await asyncio.shield(self._reading[name])

    async def _fetch(self, name: tuple[str, str], ref: refs.DataRef) -> bytes:
        try:
            document = await self._read(ref)
        finally:
            del self._reading[name]
        if len(document) <= self._limit:
            self._kept[name] = document
            self._size += len(document)
            while self._size > self._limit:
                self._size -= len(self._kept.popitem(last=False)[1])
        return document
