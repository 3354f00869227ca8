"""Guarded HTTP: pages from servers that nobody vouches for, within limits of address, time and size."""

import asyncio
import contextlib
import dataclasses
import datetime
import email.utils
import errno
import http
import re
import socket
import time
import weakref
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Self

import aiohttp
import aiohttp.abc
import yarl

from contracts import errors, stages
from infra import egress, unpacking

USER_AGENT = "ai-factory/0.1 (feed reader)"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PERMANENT = frozenset({301, 308})
RETRYABLE = frozenset({408, 425, 429})
CONDITIONS = frozenset({"if-none-match", "if-modified-since"})
# Headers that may follow a redirect to another origin; any other could carry a secret.
PORTABLE = CONDITIONS | {"accept", "accept-language", "user-agent"}
URL_LENGTH = 2048
LONGEST_RETRY_AFTER = 86_400.0
NO_HOST = "no_host"
"""Under ``reason`` in the details of a failure: the name of the host has no address."""
RATIO_FROM = 1024 * 1024

_USER = re.compile(r"//[^/?#]*@")  # a password must not reach the record of a failure


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a fetch may cost: times in seconds, sizes in bytes, ``body`` counted after decompression.

    ``idle`` bounds each wait for the next bytes, the first ones included. ``ratio`` is how many times its transferred
    size a body over 1 MiB may have; text compresses by 30 at most, a bomb by 1000.
    """

    connect: float = 10.0
    total: float = 20.0
    idle: float = 10.0
    body: int = 15 * 1024 * 1024
    ratio: int = 200
    redirects: int = 5
    per_host: int = 2


Turns = Callable[[yarl.URL], contextlib.AbstractAsyncContextManager[None]]
"""Lasts for one request to this address, and is told by an exception how it failed."""


@contextlib.asynccontextmanager
async def at_once(_: yarl.URL) -> AsyncIterator[None]:
    """The turns of whoever asks nobody else."""
    yield


class Fetcher:
    """An HTTP session that follows the rules of the egress guard; an async context manager."""

    def __init__(self, limits: Limits | None = None, allow: Iterable[str] = (),
                 resolver: aiohttp.abc.AbstractResolver | None = None) -> None:  # fmt: skip
        """``allow`` lists endpoints such as ``127.0.0.1:8123`` that are admitted although they are not public."""
        self._limits = limits or Limits()
        self._allowed = egress.parse_allowed(allow)
        self._resolver = resolver
        self._hosts: weakref.WeakValueDictionary[str, asyncio.Semaphore] = weakref.WeakValueDictionary()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(socket_factory=egress.socket_factory(self._allowed), resolver=self._resolver)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            # Decompressed here instead, because the size limit must hold while a body is being inflated.
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._limits.connect, sock_read=self._limits.idle),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip, deflate"},
            max_line_size=8190,
            max_field_size=8190,
            max_headers=100,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch(self, url: str, headers: Mapping[str, str] | None = None, turns: Turns = at_once) -> stages.Page:
        """The page at an http or https URL, after at most five redirects; each request takes its turn.

        A 304 is a page too if ``headers`` asked a condition. Raises TransientError for time-outs, broken connections,
        408, 425, 429, 5xx and a 403 that says when to come again, and PermanentError for other statuses, refused
        addresses and bodies that are too large. The explanation is fit for a client; ``details`` hold ``url`` and, if
        there was an answer, ``status``.
        """
        details = details_of(url)
        target = _parsed(url, details)
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        left = self._limits.total
        hops: list[int] = []
        for _ in range(self._limits.redirects + 1):
            async with self._turn(target), turns(target):
                began = time.monotonic()
                page = await self._hop(target, sent, left, details)
                left -= time.monotonic() - began
            if page.status not in REDIRECTS:
                return dataclasses.replace(page, moved=bool(hops) and PERMANENT.issuperset(hops))
            hops.append(page.status)
            following = _following(target, page, details)
            if following.origin() != target.origin():
                sent = {name: value for name, value in sent.items() if name in PORTABLE}
            target = following
        raise errors.PermanentError(f"{shown(url)} redirects more than {self._limits.redirects} times", details)

    @contextlib.asynccontextmanager
    async def _turn(self, target: yarl.URL) -> AsyncIterator[None]:
        # Waiting for a turn is no fault of the server, so it is not counted against the total.
        turns = self._hosts.setdefault(target.host or "", asyncio.Semaphore(self._limits.per_host))
        async with turns:
            yield

    async def _hop(self, target: yarl.URL, headers: Mapping[str, str], left: float,
                   details: dict[str, str]) -> stages.Page:  # fmt: skip
        if self._session is None:
            raise RuntimeError("a Fetcher is used inside 'async with'")
        try:
            async with (
                asyncio.timeout(max(left, 0.001)),
                self._session.get(target, headers=headers, allow_redirects=False) as response,
            ):
                return await self._page(target, headers, response, details)
        except TimeoutError as error:
            raise errors.TransientError(
                f"{shown(target)} took too long: the limits are {self._limits.connect:g} s to connect, "
                f"{self._limits.idle:g} s of silence and {self._limits.total:g} s in all", details
            ) from error  # fmt: skip
        except aiohttp.ClientError as error:
            raise _explained(error, target, details) from error

    async def _page(self, target: yarl.URL, headers: Mapping[str, str], response: aiohttp.ClientResponse,
                    details: dict[str, str]) -> stages.Page:  # fmt: skip
        received = {name.lower(): ", ".join(response.headers.getall(name)) for name in response.headers}
        page = stages.Page(str(target), response.status, received, b"")
        conditional = response.status == 304 and bool(CONDITIONS & headers.keys())
        if response.status in REDIRECTS or conditional:
            return page
        if not 200 <= response.status < 300:
            raise _refused_status(target, page, details)
        body, size = await self._body(target, response, details)
        return dataclasses.replace(page, body=body, received=size)

    async def _body(
        self, target: yarl.URL, response: aiohttp.ClientResponse, details: dict[str, str]
    ) -> tuple[bytes, int]:
        """The body, and how many bytes it had on its way."""
        details = details | {"status": str(response.status)}
        encoding = response.headers.get("Content-Encoding", "")
        decoder = unpacking.decoder(encoding)
        if decoder is None:
            raise errors.PermanentError(f"{shown(target)} is packed as '{shown(encoding)}', not as asked for", details)
        parts: list[bytes] = []
        received = size = 0
        try:
            async for chunk in response.content.iter_any():
                received += len(chunk)
                for part in decoder.feed(chunk):
                    parts.append(part)
                    size += len(part)
                    self._check_size(size, received, target, details)
        except zlib.error as error:
            explanation = f"{shown(target)} is not packed as its header says ({error})"
            raise errors.PermanentError(explanation, details) from error
        if not decoder.complete():
            raise errors.TransientError(f"{shown(target)} ended in the middle of its packed content", details)
        return b"".join(parts), received

    def _check_size(self, size: int, received: int, target: yarl.URL, details: dict[str, str]) -> None:
        if size > self._limits.body:
            limit = f"{self._limits.body:,} bytes"
            raise errors.PermanentError(f"{shown(target)} is larger than the limit of {limit}", details)
        if size > RATIO_FROM and size > received * self._limits.ratio:
            ratio = f"{self._limits.ratio} times its size"
            raise errors.PermanentError(f"{shown(target)} unpacks to more than {ratio}, as a bomb does", details)


def shown(text: object) -> str:
    """A text of someone else's making as one short printable line."""
    line = "".join(character if character.isprintable() else "�" for character in str(text))
    return line if len(line) <= 300 else line[:299] + "…"


def target(url: str) -> yarl.URL:
    """The address that a URL means, without its fragment; raises PermanentError unless it is one for a fetch.

    Written out in ASCII it has 2048 characters at most, so that it can be kept under an index.
    """
    found = _parsed(url, details_of(url))
    if len(str(found)) > URL_LENGTH:
        raise errors.PermanentError(f"'{shown(url)}' is longer than {URL_LENGTH} characters", details_of(url))
    return found


def details_of(url: str) -> dict[str, str]:
    """What the failure of a fetch says of it: its URL as it was given, without a password."""
    return {"url": _USER.sub("//", url)[:URL_LENGTH]}


def _parsed(url: str, details: dict[str, str]) -> yarl.URL:
    try:
        target = yarl.URL(url)
        host, port = target.host, target.port
    except ValueError as error:
        raise errors.PermanentError(f"'{shown(url)}' is not a valid URL ({shown(error)})", details) from error
    if target.scheme not in ("http", "https") or not host or not port:
        raise errors.PermanentError(f"'{shown(url)}' is not an http or https URL with a host", details)
    if target.user is not None or target.password is not None:
        raise errors.PermanentError(f"a URL of {shown(host)} carries a user name or password; leave it out", details)
    if len(url) > URL_LENGTH:
        raise errors.PermanentError(f"'{shown(url)}' is longer than {URL_LENGTH} characters", details)
    return target.with_fragment(None)


def _following(target: yarl.URL, page: stages.Page, details: dict[str, str]) -> yarl.URL:
    location = page.headers.get("location", "")
    details = details | {"status": str(page.status)}
    if not location:
        raise errors.PermanentError(f"{shown(target)} answered {_status(page.status)} without saying where to", details)
    try:
        joined = target.join(yarl.URL(location))
    except ValueError as error:
        explanation = f"{shown(target)} redirects to '{shown(location)}', which is not a valid URL"
        raise errors.PermanentError(explanation, details) from error
    return _parsed(str(joined), details)


def _status(status: int) -> str:
    known = {item.value: item.phrase for item in http.HTTPStatus}
    return f"{status} {known[status]}" if status in known else str(status)


def _refused_status(target: yarl.URL, page: stages.Page, details: dict[str, str]) -> errors.StageError:
    explanation = f"{shown(target)} answered {_status(page.status)}"
    details = details | {"status": str(page.status)}
    after = retry_after(page.headers.get("retry-after", ""))
    if page.status in RETRYABLE or page.status >= 500 or (page.status == 403 and after is not None):
        return errors.TransientError(explanation, details, after=after)
    return errors.PermanentError(explanation, details)


def retry_after(value: str) -> float | None:
    """Seconds that a Retry-After header asks for, at most a day; None if it says nothing that can be read."""
    if value.strip().isdecimal():
        return min(float(value), LONGEST_RETRY_AFTER)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    seconds = (moment - datetime.datetime.now(datetime.UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _explained(error: aiohttp.ClientError, target: yarl.URL, details: dict[str, str]) -> errors.StageError:
    name = shown(target)
    match error:
        case aiohttp.ClientConnectorDNSError() if error.os_error.errno == socket.EAI_NONAME:
            details = details | {"reason": NO_HOST}
            return errors.PermanentError(f"{name}: there is no host named {shown(target.host)}", details)
        case aiohttp.ClientConnectorDNSError():
            return errors.TransientError(f"{name}: the name {shown(target.host)} cannot be resolved now", details)
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return errors.PermanentError(f"{name}: no secure connection is possible ({shown(error)})", details)
        case aiohttp.ClientConnectorError() if error.os_error.errno == errno.EACCES:
            reason = (error.os_error.strerror or "").replace(f"[Errno {errno.EACCES}] ", "")
            return errors.PermanentError(f"{name}: {shown(reason)}", details)
        case aiohttp.ClientConnectorError():
            reason = error.os_error.strerror or str(error.os_error)
            return errors.TransientError(f"{name}: no connection is possible ({shown(reason)})", details)
        case aiohttp.InvalidURL():
            return errors.PermanentError(f"{name} is not a valid URL", details)
        case aiohttp.ClientResponseError():
            return errors.PermanentError(f"{name} does not answer as HTTP asks ({shown(error.message)})", details)
        case _:
            reason = shown(error) or type(error).__name__
            return errors.TransientError(f"{name}: the connection broke ({reason})", details)
