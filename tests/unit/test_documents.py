"""Keys, packing and verification of documents, and the cache of those read."""

import asyncio
import datetime
import hashlib
import uuid

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from contracts import errors, messages, refs
from infra import documents

NAMES = st.text(min_size=1, max_size=200).filter(
    lambda name: not any(0xD800 <= ord(letter) <= 0xDFFF for letter in name)
)


def reference(document: bytes, uri: str = "s3://documents/a", packed: bool = False) -> refs.DataRef:
    sha256 = hashlib.sha256(document).hexdigest()
    return refs.DataRef(uri=uri, sha256=sha256, size=len(document), encoding="zstd" if packed else None)


def key(tenant: str, step: str) -> str:
    task = messages.TaskKey(uuid.UUID(int=1), 1, step, 0, 1)
    return documents.key(documents.Place(tenant, datetime.date(2026, 1, 2), task), "ab" * 32, "text/html", None)


@given(NAMES, NAMES)
def test_whatever_the_names_a_key_has_five_harmless_parts_and_fits_a_reference(tenant: str, step: str) -> None:
    parts = key(tenant, step).split("/")
    assert len(parts) == 5
    assert all(part.isascii() and not part.startswith(".") and len(part) <= 200 for part in parts)
    reference(b"", uri=f"s3://{'b' * 63}/{key(tenant, step)}")


@given(NAMES, NAMES)
def test_two_tenants_never_share_a_folder(one: str, other: str) -> None:
    assert (key(one, "fetch") == key(other, "fetch")) == (one == other)


@given(st.binary(max_size=20_000))
def test_what_was_packed_unpacks_to_the_same(document: bytes) -> None:
    body, encoding = documents.pack(document)
    assert documents.unpack(reference(document, packed=encoding == "zstd"), body) == document
    assert len(body) <= len(document)


def test_a_bomb_is_unpacked_no_further_than_its_reference_says() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(50_000_000))
    with pytest.raises(errors.InputGoneError, match="holds 1001 bytes"):
        documents.unpack(reference(b"x" * 1000, packed=True), bomb)


class Shelf:
    """Documents by address, and how often each was read."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.contents = contents
        self.reads: list[str] = []

    async def read(self, ref: refs.DataRef) -> bytes:
        self.reads.append(ref.uri)
        await asyncio.sleep(0)
        if ref.uri not in self.contents:
            raise errors.InputGoneError(ref.uri)
        return self.contents[ref.uri]


def shelf_of(sizes: dict[str, int]) -> tuple[Shelf, dict[str, refs.DataRef]]:
    contents = {f"s3://documents/{name}": name.encode() * size for name, size in sizes.items()}
    return Shelf(contents), {uri[-1]: reference(document, uri) for uri, document in contents.items()}


async def test_a_hundred_readers_of_one_document_cost_one_read() -> None:
    shelf, named = shelf_of({"a": 1000})
    cache = documents.Cache(shelf.read, limit=10_000)
    assert set(await asyncio.gather(*(cache.get(named["a"]) for _ in range(100)))) == {b"a" * 1000}
    await cache.get(named["a"])
    assert shelf.reads == ["s3://documents/a"]


async def test_what_was_not_read_for_longest_goes_first_when_the_room_is_used_up() -> None:
    shelf, named = shelf_of({"a": 400, "b": 400, "c": 400})
    cache = documents.Cache(shelf.read, limit=1000)
    for name in "abacab":
        await cache.get(named[name])
    assert [uri[-1] for uri in shelf.reads] == ["a", "b", "c", "b"]


async def test_a_document_larger_than_the_room_is_read_each_time() -> None:
    shelf, named = shelf_of({"a": 400, "b": 2000})
    cache = documents.Cache(shelf.read, limit=1000)
    for name in "abba":
        await cache.get(named[name])
    assert [uri[-1] for uri in shelf.reads] == ["a", "b", "b"]


async def test_an_error_reaches_all_who_wait_and_is_not_kept() -> None:
    shelf, named = shelf_of({"a": 10})
    missing = shelf.contents.pop("s3://documents/a")
    cache = documents.Cache(shelf.read, limit=1000)
    outcomes = await asyncio.gather(*(cache.get(named["a"]) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [errors.InputGoneError] * 5
    assert len(shelf.reads) == 1
    shelf.contents["s3://documents/a"] = missing
    assert await cache.get(named["a"]) == missing


async def test_a_reader_that_gives_up_does_not_disturb_the_others() -> None:
    shelf, named = shelf_of({"a": 10})
    cache = documents.Cache(shelf.read, limit=1000)
    async with asyncio.TaskGroup() as group:
        first, second = group.create_task(cache.get(named["a"])), group.create_task(cache.get(named["a"]))
        await asyncio.sleep(0)
        first.cancel()
    assert second.result() == b"a" * 10


async def test_a_known_hash_does_not_open_a_document_at_another_address() -> None:
    shelf, named = shelf_of({"a": 10})
    cache = documents.Cache(shelf.read, limit=1000)
    await cache.get(named["a"])
    with pytest.raises(errors.InputGoneError):
        await cache.get(named["a"].model_copy(update={"uri": "s3://documents/mine"}))
