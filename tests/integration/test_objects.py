"""What every S3 server must do for the factory; the same suite runs against each of them."""

import asyncio
import datetime
import io
import json
import os
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager

import minio
import pytest
import urllib3

from contracts import errors, messages, refs
from infra import documents, objects
from tests import stores

DAY = datetime.date(2026, 11, 21)
ARTICLES = json.dumps(
    [{"id": number, "text": "some words about the same topic " * 3} for number in range(200)]
).encode()


@pytest.fixture(scope="module", params=["rclone", pytest.param("minio", marks=pytest.mark.minio)])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[stores.Server]:
    if request.param == "minio" and not os.environ.get("FACTORY_TEST_MINIO"):
        pytest.skip("FACTORY_TEST_MINIO names no MinIO binary")
    running = stores.Server(request.param, tmp_path_factory.mktemp(request.param) / "data")
    running.start()
    yield running
    running.kill()


def opened(endpoint: str, threads: int = 8, read_seconds: float = 20) -> AbstractAsyncContextManager[objects.Objects]:
    return objects.connect(
        endpoint, stores.ACCESS_KEY, stores.SECRET_KEY, stores.BUCKET, threads=threads, read_seconds=read_seconds
    )


@pytest.fixture
async def store(server: stores.Server) -> AsyncIterator[objects.Objects]:
    async with opened(server.endpoint) as connected:
        await connected.ensure_bucket()
        yield connected


def place(tenant: str = "acme", step: str = "fetch", shard: int = 0) -> documents.Place:
    return documents.Place(tenant, DAY, messages.TaskKey(uuid.uuid4(), 1, step, shard, 1))


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def key(ref: refs.DataRef) -> str:
    return ref.uri.removeprefix(f"s3://{stores.BUCKET}/")


@pytest.mark.parametrize(
    ("document", "inline", "packed"),
    [
        (b"", True, False),
        (b'{"found": 3}', True, False),
        (b"x" * 4096, True, False),
        (b"x" * 4097, False, True),
        ("Größe und Maß €".encode() * 400, False, True),
        (noise(100), False, False),
        (b"text\0with a zero", False, False),
        (noise(10_000), False, False),
        (ARTICLES, False, True),
    ],
    ids=["empty", "small", "at the limit", "over the limit", "unicode", "small binary", "zero", "binary", "articles"],
)
async def test_a_document_comes_back_as_it_was_put(
    store: objects.Objects, document: bytes, inline: bool, packed: bool
) -> None:
    ref = await store.put(place(), document, content_type="text/plain", schema="ArticleSet", records=7)
    assert (ref.uri == "inline:", ref.encoding == "zstd") == (inline, packed)
    assert (ref.size, ref.schema_name, ref.records) == (len(document), "ArticleSet", 7)
    assert await store.exists(ref)
    assert await store.get(refs.DataRef.model_validate_json(ref.model_dump_json())) == document


@pytest.mark.parametrize("document", [noise(20 * 2**20), ARTICLES * 800], ids=["binary", "text"])
async def test_twenty_megabytes_come_back(store: objects.Objects, document: bytes) -> None:
    ref = await store.put(place(), document, content_type="application/octet-stream")
    assert await store.get(ref) == document


async def test_a_document_over_the_limit_is_refused_before_anything_is_sent(store: objects.Objects) -> None:
    with pytest.raises(errors.PermanentError, match="split it"):
        await store.put(place(), bytes(documents.LIMIT + 1))


async def test_the_key_tells_who_when_and_what(store: objects.Objects) -> None:
    where = place(step="classify", shard=3)
    ref = await store.put(where, ARTICLES)
    assert key(ref) == f"acme/2026-11-21/{where.task.execution_id}/classify/3-1-{ref.sha256[:32]}.json.zst"


@pytest.mark.parametrize("name", ["Käufer & Söhne", "客户", "../../etc", "a/b", ".", "a b+c%20d", "é" * 200])
async def test_any_name_makes_a_key(store: objects.Objects, name: str) -> None:
    ref = await store.put(place(tenant=name, step=name), ARTICLES)
    assert key(ref).count("/") == 4
    assert await store.get(ref) == ARTICLES


async def test_the_same_document_twice_is_one_object_and_another_never_replaces_it(store: objects.Objects) -> None:
    where = place()
    first, again = await store.put(where, ARTICLES), await store.put(where, ARTICLES)
    other = await store.put(where, ARTICLES + b" ")
    assert first == again
    assert other.uri != first.uri
    assert await store.get(first) == ARTICLES
    assert await store.get(other) == ARTICLES + b" "


async def test_a_document_put_again_while_it_is_read_is_never_seen_half_written(store: objects.Objects) -> None:
    where, document = place(), noise(300_000)
    ref = await store.put(where, document)

    async def read() -> None:
        for _ in range(25):
            assert await store.get(ref) == document

    async def write() -> None:
        for _ in range(25):
            await store.put(where, document)

    await asyncio.gather(read(), write(), read(), write())


async def test_a_missing_object_is_gone(store: objects.Objects) -> None:
    ref = await store.put(place(), ARTICLES)
    await store.delete(ref)
    await store.delete(ref)
    assert not await store.exists(ref)
    with pytest.raises(errors.InputGoneError, match="not in the store") as raised:
        await store.get(ref)
    assert raised.value.details == {"uri": ref.uri}, "which step can make it again is told by the address"


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda body: body[: len(body) // 2],
    "flipped": lambda body: body[:500] + bytes([body[500] ^ 1]) + body[501:],
    "lengthened": lambda body: body + noise(200_000),
    "emptied": lambda body: b"",
    "exchanged": lambda body: bytes(reversed(body)),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("document", [ARTICLES + noise(5000), noise(50_000)], ids=["packed", "plain"])
async def test_a_damaged_object_is_refused(
    server: stores.Server, store: objects.Objects, document: bytes, damage: str
) -> None:
    ref = await store.put(place(), document)
    raw = minio.Minio(
        server.endpoint.removeprefix("http://"), stores.ACCESS_KEY, stores.SECRET_KEY, secure=False, region="us-east-1"
    )
    with raw.get_object(stores.BUCKET, key(ref)) as response:
        body = DAMAGES[damage](response.read())
    raw.put_object(stores.BUCKET, key(ref), io.BytesIO(body), len(body))
    with pytest.raises(errors.InputGoneError) as raised:
        await store.get(ref)
    assert raised.value.details == {"uri": ref.uri}


@pytest.mark.parametrize("lie", [{"sha256": "0" * 64}, {"size": 5}, {"size": 10**6}, {"encoding": None}], ids=str)
async def test_a_reference_that_does_not_fit_its_object_is_refused(
    store: objects.Objects, lie: dict[str, object]
) -> None:
    ref = await store.put(place(), ARTICLES)
    with pytest.raises(errors.InputGoneError):
        await store.get(ref.model_copy(update=lie))


async def test_a_reference_into_another_bucket_is_refused(store: objects.Objects) -> None:
    ref = await store.put(place(), ARTICLES)
    with pytest.raises(errors.InvalidInputError, match="another bucket"):
        await store.get(ref.model_copy(update={"uri": f"s3://other/{key(ref)}"}))


async def test_a_small_pool_serves_many_at_once(server: stores.Server) -> None:
    contents = [ARTICLES + str(number).encode() for number in range(50)]
    async with opened(server.endpoint, threads=8) as store:
        stored = await asyncio.gather(*(store.put(place(shard=n), content) for n, content in enumerate(contents)))
        assert await asyncio.gather(*(store.get(ref) for ref in stored)) == contents


async def test_a_presigned_link_opens_without_credentials_and_only_with_its_signature(store: objects.Objects) -> None:
    page = b"<!doctype html><title>Report</title>" * 300
    ref = await store.put(place(), page, content_type="text/html", compress=False)
    link = await store.presigned(ref, 60)
    assert await asyncio.to_thread(fetched, link) == (200, "text/html", page)
    status, _, _ = await asyncio.to_thread(fetched, link.partition("?")[0])
    assert status in (400, 401, 403)


def fetched(link: str) -> tuple[int, str, bytes]:
    """Status, content type and body as any HTTP client sees them."""
    answer = urllib3.request("GET", link, timeout=5, retries=False)
    return answer.status, answer.headers.get("content-type", ""), answer.data


async def test_objects_outlive_a_killed_server(server: stores.Server, store: objects.Objects) -> None:
    ref = await store.put(place(), ARTICLES)
    server.kill()
    try:
        for call in (store.get(ref), store.put(place(), ARTICLES), store.exists(ref), store.delete(ref)):
            began = time.monotonic()
            with pytest.raises(errors.TransientError):
                await call
            assert time.monotonic() - began < 5
    finally:
        server.start()
    assert await store.get(ref) == ARTICLES


async def test_wrong_credentials_are_an_error_that_names_the_remedy(server: stores.Server) -> None:
    async with objects.connect(server.endpoint, "nobody", "nothing-secret", stores.BUCKET) as store:
        with pytest.raises(errors.TransientError, match="check FACTORY_S3_ACCESS_KEY"):
            await store.put(place(), ARTICLES)


CUT_OFF = b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("answer", [None, CUT_OFF, BUSY], ids=["silent", "cut off", "busy"])
async def test_a_store_in_trouble_is_transient_within_the_time_out(answer: bytes | None) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()

    ref = refs.DataRef(uri=f"s3://{stores.BUCKET}/a/key", sha256="0" * 64, size=9000)
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        endpoint = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        async with opened(endpoint, read_seconds=0.3) as store, asyncio.timeout(5):
            with pytest.raises(errors.TransientError):
                await store.get(ref)
