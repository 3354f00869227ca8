"""Documents in an S3 object store: written once, verified on the way in and on the way out."""

import asyncio
import concurrent.futures
import contextlib
import datetime
import hashlib
import io
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import minio
import urllib3
from minio import error as minio_error

from contracts import errors, refs
from infra import documents, metrics, tracing
from infra.settings import Settings
from infra.tracing import Kind

CONNECT_SECONDS = 3.0
READ_SECONDS = 20.0
"""The longest silence of a store that has accepted a connection."""

DOWNLOAD_SECONDS = 120.0
"""The longest a whole document may take, so that a store that trickles cannot hold a thread."""

_CHUNK = 256 * 1024
_MISSING = ("NoSuchKey", "NoSuchObject")
_REFUSED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")
R = TypeVar("R")


class Objects:
    """A bucket, a bounded pool of threads that talk to it, and their connections; made by ``connect``."""

    def __init__(self, client: minio.Minio, bucket: str, threads: int) -> None:
        self._client = client
        self._bucket = bucket
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="objects")

    async def ensure_bucket(self) -> None:
        """Make the bucket unless it is there already."""
        await self._run("make_bucket", self._make_bucket)

    async def put(
        self,
        place: documents.Place,
        document: bytes,
        *,
        content_type: str = "application/json",
        schema: str | None = None,
        records: int | None = None,
        compress: bool = True,
    ) -> refs.DataRef:
        """A reference to the document, which is stored and verified when this returns.

        UTF-8 text of up to 4 KiB travels inside the reference. Anything else becomes an object, packed with zstd where
        that helps; ``compress=False`` keeps it as it is, for files that people open by a link. Raises PermanentError
        for a document over the limit and TransientError when the store cannot take it.
        """
        if len(document) > documents.LIMIT:
            raise errors.PermanentError(
                f"a document of {len(document)} bytes is too large to store (limit {documents.LIMIT}); split it"
            )
        if len(document) <= refs.INLINE_LIMIT and documents.is_text(document):
            return refs.inline(document, content_type=content_type, schema=schema, records=records)
        stored = await self._run("put", lambda: self._store(place, document, content_type, compress))
        metrics.OBJECT_BYTES.labels("written").inc(stored.size)
        return stored.model_copy(update={"schema_name": schema, "records": records})

    async def get(self, ref: refs.DataRef) -> bytes:
        """The document, exactly as it was put.

        The stored size is checked before anything is read, hash and size of the document after. Raises InputGoneError,
        with the address as its detail ``uri``, for an object that is missing or is not what its reference says,
        InvalidInputError for a reference into another bucket or over the limit, and TransientError when the store does
        not answer.
        """
        if ref.data is not None:
            return documents.carried(ref)
        if ref.size > documents.LIMIT:
            raise errors.InvalidInputError(
                f"{ref.uri} has {ref.size} bytes; no document of over {documents.LIMIT} is read"
            )
        try:
            document = await self._run("get", lambda: self._load(ref))
        except errors.InputGoneError as error:
            # By its address the coordinator knows which step can make it again.
            raise errors.InputGoneError(str(error), {"uri": ref.uri}) from error
        metrics.OBJECT_BYTES.labels("read").inc(ref.size)
        return document

    async def exists(self, ref: refs.DataRef) -> bool:
        """Whether the object is there; its content is not looked at."""
        if ref.data is not None:
            return True
        try:
            await self._run("stat", lambda: self._client.stat_object(self._bucket, self._key(ref)))
        except errors.InputGoneError:
            return False
        return True

    async def delete(self, ref: refs.DataRef) -> None:
        """Remove the object; one that is gone already is fine."""
        if ref.data is not None:
            return
        with contextlib.suppress(errors.InputGoneError):
            await self._run("remove", lambda: self._client.remove_object(self._bucket, self._key(ref)))

    async def presigned(self, ref: refs.DataRef, seconds: int) -> str:
        """A link that lets anyone read the stored object for so many seconds (up to seven days).

        A document that was packed is served packed, so what people open is put with ``compress=False``.
        """
        if ref.data is not None:
            raise errors.InvalidInputError("an inline document has no link; it stands in its reference")
        expires = datetime.timedelta(seconds=seconds)
        return await self._run(
            "presign", lambda: self._client.presigned_get_object(self._bucket, self._key(ref), expires=expires)
        )

    async def close(self) -> None:
        """Wait for the calls that run and drop those that wait."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def _run(self, operation: str, call: Callable[[], R]) -> R:
        try:
            with metrics.OBJECT_SECONDS.labels(operation).time(), tracing.child(f"object {operation}", Kind.CLIENT):
                return await asyncio.get_running_loop().run_in_executor(self._pool, call)
        except (minio_error.MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _translated(error) from error

    def _key(self, ref: refs.DataRef) -> str:
        bucket, _, name = ref.uri.removeprefix("s3://").partition("/")
        if bucket != self._bucket:
            raise errors.InvalidInputError(f"{ref.uri} is in another bucket; this factory reads '{self._bucket}' only")
        return name

    def _make_bucket(self) -> None:
        if self._client.bucket_exists(self._bucket):
            return
        try:
            self._client.make_bucket(self._bucket)
        except minio_error.S3Error as error:
            if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise

    def _store(self, place: documents.Place, document: bytes, content_type: str, compress: bool) -> refs.DataRef:
        sha256 = hashlib.sha256(document).hexdigest()
        body, encoding = documents.pack(document) if compress else (document, None)
        name = documents.key(place, sha256, content_type, encoding)
        self._upload(name, body, "application/zstd" if encoding else content_type)
        return refs.DataRef(
            uri=f"s3://{self._bucket}/{name}",
            sha256=sha256,
            size=len(document),
            content_type=content_type,
            encoding=encoding,
        )

    def _upload(self, name: str, body: bytes, content_type: str) -> None:
        # A store on plain files shows an object half written while it is written again, so what is there stays.
        if self._stored_size(name) == len(body):
            return
        # One part whatever the size: a part-wise upload is five requests and can leave pieces behind.
        written = self._client.put_object(
            self._bucket, name, io.BytesIO(body), len(body), content_type=content_type, part_size=documents.LIMIT
        )
        # The tag is the MD5 of the body unless the store encrypts or splits; then the size has to do.
        if written.etag == hashlib.md5(body, usedforsecurity=False).hexdigest():
            return
        size = self._stored_size(name)
        if size != len(body):
            raise errors.TransientError(f"the object store kept {size} of {len(body)} bytes of {name}")

    def _stored_size(self, name: str) -> int | None:
        try:
            return self._client.stat_object(self._bucket, name).size
        except minio_error.S3Error as error:
            if error.code in _MISSING:
                return None
            raise

    def _load(self, ref: refs.DataRef) -> bytes:
        response = self._client.get_object(self._bucket, self._key(ref))
        try:
            body = _read(response, ref)
        except BaseException:
            # What is left unread would otherwise be taken for the next answer on this connection.
            response.close()
            raise
        finally:
            response.release_conn()
        return documents.unpack(ref, body)


@contextlib.asynccontextmanager
async def connect(
    endpoint: str,
    access_key: str,
    secret_key: str,
    bucket: str,
    *,
    region: str = "us-east-1",
    threads: int = 8,
    read_seconds: float = READ_SECONDS,
) -> AsyncIterator[Objects]:
    """The bucket at an endpoint such as ``http://127.0.0.1:9000``; nothing is contacted until it is used."""
    address = urllib.parse.urlsplit(endpoint)
    if address.scheme not in ("http", "https") or not address.netloc or address.path.strip("/"):
        raise errors.FactoryError(f"the S3 endpoint is '{endpoint}'; give http://HOST:PORT or https://HOST[:PORT]")
    # minio's own default would block for half an hour: five retries of a 300 s time-out.
    pool = urllib3.PoolManager(
        num_pools=2,
        maxsize=threads,
        timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds),
        retries=urllib3.Retry(total=1, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504)),
    )
    client = minio.Minio(
        address.netloc,
        access_key=access_key,
        secret_key=secret_key,
        secure=address.scheme == "https",
        region=region,
        http_client=pool,
    )
    store = Objects(client, bucket, threads)
    try:
        yield store
    finally:
        await store.close()
        pool.clear()


def of(settings: Settings, *, threads: int = 8) -> contextlib.AbstractAsyncContextManager[Objects]:
    """The bucket that the settings name."""
    return connect(
        settings.s3_endpoint,
        settings.s3_access_key,
        settings.s3_secret_key,
        settings.s3_bucket,
        region=settings.s3_region,
        threads=threads,
    )


def _read(response: urllib3.BaseHTTPResponse, ref: refs.DataRef) -> bytes:
    if "content-length" in response.headers:
        documents.check_stored_size(ref, int(response.headers["content-length"]))
    body = bytearray()
    until = time.monotonic() + DOWNLOAD_SECONDS
    for chunk in response.stream(_CHUNK, decode_content=False):
        body += chunk
        if len(body) > ref.size:
            raise errors.InputGoneError(f"{ref.uri} holds more than the {ref.size} bytes that its reference says")
        if time.monotonic() > until:
            raise errors.TransientError(
                f"{ref.uri} was not read within {DOWNLOAD_SECONDS:g} s ({len(body)} bytes came)"
            )
    return bytes(body)


def _translated(error: Exception) -> errors.StageError:
    """A missing object as InputGoneError; everything else is the store's trouble, which will pass."""
    if isinstance(error, minio_error.S3Error):
        explanation = f"{error.code}: {error.message} ({error.resource})"
        if error.code in _MISSING:
            return errors.InputGoneError(f"the object is not in the store ({error.resource})")
        if error.code in _REFUSED:
            explanation += "; check FACTORY_S3_ACCESS_KEY, FACTORY_S3_SECRET_KEY and what they may do with the bucket"
    else:
        explanation = " ".join(str(error).split())[:400]
        # rclone answers a missing key with XML of type text/xml, which minio does not read.
        if isinstance(error, minio_error.InvalidResponseError) and "<Code>NoSuchKey</Code>" in str(error):
            return errors.InputGoneError(f"the object is not in the store ({explanation})")
    return errors.OutageError(f"the object store did not do its work: {explanation}")
