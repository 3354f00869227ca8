"""Guarded fetching against real servers on loopback that behave well, badly and maliciously."""

import asyncio
import contextlib
import datetime
import email.utils
import gzip
import os
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp.abc
import pytest
import uvloop
from aiohttp import web

from contracts import errors, stages
from infra import fetch

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LIMITS = fetch.Limits(connect=2, total=2, idle=0.5, body=2 * 1024 * 1024)


@contextlib.asynccontextmanager
async def site(*handlers: Handler, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """A server with a path named after each handler."""
    application = web.Application()
    for handler in handlers:
        application.router.add_get(f"/{getattr(handler, '__name__', '')}", handler)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield "{}:{}".format(*runner.addresses[0])
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def raw(answer: bytes, *, reset: bool = False) -> AsyncIterator[str]:
    """A server that sends these bytes to whoever connects and then hangs up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if reset:
            linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield "{}:{}".format(*server.sockets[0].getsockname())


async def get(address: str, path: str = "", limits: fetch.Limits = LIMITS, headers: dict[str, str] | None = None,
              allow: tuple[str, ...] = ()) -> stages.Page:  # fmt: skip
    async with fetch.Fetcher(limits, [address, *allow]) as fetcher:
        return await fetcher.fetch(f"http://{address}/{path}", headers)


async def feed(request: web.Request) -> web.StreamResponse:
    """Tell what the client sent."""
    return web.json_response(dict(request.headers), headers={"ETag": '"1"'})


async def test_a_page_comes_with_its_address_status_and_headers() -> None:
    async with site(feed) as address:
        page = await get(address, "feed#part", headers={"Accept": "text/x"})

    assert (page.url, page.status, page.headers["etag"]) == (f"http://{address}/feed", 200, '"1"')
    assert b'"Accept": "text/x"' in page.body
    assert b"ai-factory" in page.body
    assert b"gzip, deflate" in page.body


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0177.0.0.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://127.1/",
        "http://0/",
        "http://10.1.2.3/",
    ],
)
async def test_addresses_inside_are_refused_however_they_are_written(url: str) -> None:
    async with fetch.Fetcher(LIMITS) as fetcher:
        with pytest.raises(errors.PermanentError, match=r"refused|not a valid URL") as caught:
            await fetcher.fetch(url)

    assert caught.value.details == {"url": url}


@pytest.mark.parametrize(
    ("url", "explanation"),
    [
        ("file:///etc/passwd", "not an http or https URL"),
        ("ftp://127.0.0.1/", "not an http or https URL"),
        ("gopher://127.0.0.1/", "not an http or https URL"),
        ("/feed", "not an http or https URL"),
        ("", "not an http or https URL"),
        ("http://jo:secret@127.0.0.1/", "user name or password"),
        ("http://[::1", "not a valid URL"),
        ("http://127.0.0.1:99999/", "not a valid URL"),
        ("http://127.0.0.1/" + "a" * 3000, "longer than 2048"),
    ],
)
async def test_unusable_urls_are_explained(url: str, explanation: str) -> None:
    async with fetch.Fetcher(LIMITS) as fetcher:
        with pytest.raises(errors.PermanentError, match=explanation) as caught:
            await fetcher.fetch(url)

    assert "secret" not in f"{caught.value} {caught.value.details}"


async def test_the_allow_list_admits_no_other_port_of_the_same_host() -> None:
    async with site(feed) as admitted, site(feed) as other, fetch.Fetcher(LIMITS, [admitted]) as fetcher:
        assert (await fetcher.fetch(f"http://{admitted}/feed")).status == 200
        with pytest.raises(errors.PermanentError, match="refused"):
            await fetcher.fetch(f"http://{other}/feed")


async def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    async with site(feed) as address:
        assert (await get(address, "feed")).status == 200


# --- Redirects -------------------------------------------------------------------------------------------------------


async def hop(request: web.Request) -> web.StreamResponse:
    """Redirect as often as the query asks."""
    left = int(request.query["n"])
    raise web.HTTPFound(f"/hop?n={left - 1}" if left else "/feed")


async def away(request: web.Request) -> web.StreamResponse:
    """Redirect to where the query says."""
    return web.Response(status=302, headers={"Location": request.query["to"]} if "to" in request.query else {})


async def test_five_redirects_are_followed_and_six_are_not() -> None:
    async with site(hop, feed) as address:
        assert (await get(address, "hop?n=4")).url == f"http://{address}/feed"
        with pytest.raises(errors.PermanentError, match="redirects more than 5 times"):
            await get(address, "hop?n=5")


@pytest.mark.parametrize(
    ("target", "explanation"),
    [
        ("http://169.254.169.254/", "refused"),
        ("http://127.0.0.2:{port}/feed", "refused"),
        ("http://localhost:1/", "refused"),
        ("//[::1]/", "refused"),
        ("http://jo:secret@127.0.0.1:{port}/feed", "user name or password"),
        ("file:///etc/passwd", "not an http or https URL"),
        ("http://[::1", "not a valid URL"),
    ],
)
async def test_each_redirect_is_checked_like_a_first_address(target: str, explanation: str) -> None:
    async with site(away, feed) as address:
        port = address.rpartition(":")[2]
        with pytest.raises(errors.PermanentError, match=explanation) as caught:
            await get(address, f"away?to={target.format(port=port)}")

    assert caught.value.details["url"].startswith(f"http://{address}/away")


async def test_a_redirect_to_nowhere_is_explained() -> None:
    async with site(away) as address:
        with pytest.raises(errors.PermanentError, match="302 Found without saying where to"):
            await get(address, "away")


async def test_secrets_do_not_follow_a_redirect_to_another_origin() -> None:
    sent = {"Authorization": "Bearer hush", "X-Key": "hush", "If-None-Match": '"2"'}
    async with site(feed) as other, site(away, feed) as address:
        abroad = await get(address, f"away?to=http://{other}/feed", headers=sent, allow=(other,))
        at_home = await get(address, "away?to=/feed", headers=sent)

    assert b"hush" not in abroad.body
    assert b"If-None-Match" in abroad.body or b"if-none-match" in abroad.body
    assert at_home.body.count(b"hush") == 2


class Fickle(aiohttp.abc.AbstractResolver):
    """A name server that gives another answer each time it is asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        answer = self.answers.pop(0)
        return [{"hostname": host, "host": answer, "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        """Nothing is held."""


async def test_a_name_that_changes_its_answer_is_caught_at_the_second_connect() -> None:
    async with site(feed) as second, site(feed, host="127.0.0.2", port=int(second.rpartition(":")[2])) as inside:
        port = inside.rpartition(":")[2]
        async with site(away) as first:
            start = f"http://fickle.test:{first.rpartition(':')[2]}/away?to=http://fickle.test:{port}/feed"
            names = Fickle("127.0.0.1", "127.0.0.2")
            async with fetch.Fetcher(LIMITS, [first, second], resolver=names) as fetcher:
                with pytest.raises(errors.PermanentError, match=r"address 127\.0\.0\.2 port \d+ is refused"):
                    await fetcher.fetch(start)
    assert names.answers == []


class Lost(Fickle):
    """A name server that fails with a number of getaddrinfo."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        raise socket.gaierror(self.number, "no answer")


@pytest.mark.parametrize(
    ("number", "kind", "explanation"),
    [
        (socket.EAI_NONAME, errors.PermanentError, "there is no host named lost.test"),
        (socket.EAI_AGAIN, errors.TransientError, "lost.test cannot be resolved now"),
    ],
)
async def test_a_name_without_address_is_final_and_a_failing_name_server_is_not(
    number: int, kind: type[errors.StageError], explanation: str
) -> None:
    async with fetch.Fetcher(LIMITS, resolver=Lost(number)) as fetcher:
        with pytest.raises(kind, match=explanation):
            await fetcher.fetch("http://lost.test/")


# --- Answers that are no page ----------------------------------------------------------------------------------------


async def status(request: web.Request) -> web.StreamResponse:
    """Answer with the status and the Retry-After of the query."""
    after = {"Retry-After": request.query["after"]} if "after" in request.query else {}
    return web.Response(status=int(request.query["code"]), headers=after, text="an error page")


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
async def test_a_refusal_is_final_and_readable(code: int) -> None:
    async with site(status) as address:
        with pytest.raises(errors.PermanentError, match=rf"answered {code} \w+") as caught:
            await get(address, f"status?code={code}")

    assert caught.value.details == {"url": f"http://{address}/status?code={code}", "status": str(code)}


@pytest.mark.parametrize(
    ("query", "after"),
    [
        ("code=429&after=7", 7.0),
        ("code=503&after=999999", fetch.LONGEST_RETRY_AFTER),
        ("code=503&after=soon", None),
        ("code=500", None),
        ("code=502", None),
        ("code=408", None),
    ],
)
async def test_an_overloaded_server_is_worth_another_attempt_when_it_says_so(query: str, after: float | None) -> None:
    async with site(status) as address:
        with pytest.raises(errors.TransientError) as caught:
            await get(address, f"status?{query}")

    assert caught.value.after == after
    assert caught.value.details["status"] == query[5:8]


def test_retry_after_may_be_a_date() -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
    earlier = later - datetime.timedelta(days=1)

    assert fetch.retry_after(email.utils.format_datetime(later, usegmt=True)) == pytest.approx(300, abs=5)
    assert fetch.retry_after(email.utils.format_datetime(earlier, usegmt=True)) == 0


async def unchanged(request: web.Request) -> web.StreamResponse:
    """Answer that nothing has changed."""
    return web.Response(status=304, headers={"ETag": '"1"'})


async def test_not_modified_is_a_page_only_if_it_was_asked_for() -> None:
    async with site(unchanged) as address:
        page = await get(address, "unchanged", headers={"If-None-Match": '"1"'})
        with pytest.raises(errors.PermanentError, match="304 Not Modified"):
            await get(address, "unchanged")

    assert (page.status, page.body, page.headers["etag"]) == (304, b"", '"1"')


async def test_cookies_are_not_kept() -> None:
    async def bake(request: web.Request) -> web.StreamResponse:
        """Set a cookie and tell which came."""
        response = web.Response(text=str(dict(request.cookies)))
        response.set_cookie("crumb", "1")
        return response

    async with site(bake) as address, fetch.Fetcher(LIMITS, [address]) as fetcher:
        for _ in range(2):
            assert (await fetcher.fetch(f"http://{address}/bake")).body == b"{}"


# --- Time ------------------------------------------------------------------------------------------------------------


async def silent(request: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    return web.Response()


async def drip(request: web.Request) -> web.StreamResponse:
    """Send a byte now and then, never so seldom that it counts as silence."""
    response = web.StreamResponse()
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.05)
    return response


@pytest.mark.parametrize("path", ["silent", "drip"])
async def test_slow_answers_are_given_up(path: str) -> None:
    limits = fetch.Limits(total=0.6, idle=0.3)
    loop = asyncio.get_running_loop()
    async with site(silent, drip) as address:
        began = loop.time()
        with pytest.raises(errors.TransientError, match="took too long"):
            await get(address, path, limits)
        assert loop.time() - began < 2


async def test_no_more_than_two_requests_reach_a_host_at_once() -> None:
    running = most = 0

    async def busy(request: web.Request) -> web.StreamResponse:
        """Count who is here."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return web.Response()

    limits = fetch.Limits(total=0.2)
    async with site(busy) as address, fetch.Fetcher(limits, [address]) as fetcher:
        pages = await asyncio.gather(*(fetcher.fetch(f"http://{address}/busy") for _ in range(30)))

    assert (len(pages), most) == (30, 2)


# --- Size ------------------------------------------------------------------------------------------------------------


def packed(content: bytes, encoding: str, head: str = "") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(content)}\r\n{head}\r\n"
    return head.encode() + content


def deflated(content: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(content) + stream.flush()


TEXT = os.urandom(300_000).hex().encode()


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT)),
        ("GZIP", gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:])),
        ("gzip", gzip.compress(TEXT) + b"\0" * 512),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", deflated(TEXT)),
        ("identity", TEXT),
    ],
)
async def test_packed_bodies_are_unpacked(encoding: str, content: bytes) -> None:
    async with raw(packed(content, encoding)) as address:
        assert (await get(address)).body == TEXT


@pytest.mark.parametrize(
    ("encoding", "content", "explanation"),
    [
        ("br", b"x", "packed as 'br'"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), "packed as 'gzip, gzip'"),
        ("gzip", b"no gzip at all", "not packed as its header says"),
        ("gzip", gzip.compress(b" " * 1_900_000), "as a bomb does"),
        ("deflate", zlib.compress(b" " * 1_900_000), "as a bomb does"),
        ("gzip", gzip.compress(b" " * 200_000_000), "larger than the limit"),
        ("gzip", gzip.compress(os.urandom(1_600_000).hex().encode()), "larger than the limit of 2,097,152 bytes"),
        ("identity", b"x" * 2_100_000, "larger than the limit"),
    ],
)
async def test_bodies_that_are_too_large_or_wrongly_packed_are_refused(
    encoding: str, content: bytes, explanation: str
) -> None:
    async with raw(packed(content, encoding)) as address:
        with pytest.raises(errors.PermanentError, match=explanation) as caught:
            await get(address)

    assert caught.value.details["status"] == "200"


async def test_an_endless_body_is_cut_at_the_limit() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        """Send until nobody listens."""
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"x" * 65536)
        return response

    async with site(endless) as address:
        with pytest.raises(errors.PermanentError, match="larger than the limit"):
            await get(address, "endless")


async def test_headers_without_end_are_refused() -> None:
    fields = b"".join(b"X-%d: y\r\n" % number for number in range(500))
    long = b"X: " + b"y" * 100_000 + b"\r\n"
    for head in (fields, long):
        async with raw(b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: 0\r\n\r\n") as address:
            with pytest.raises(errors.PermanentError, match="does not answer as HTTP asks"):
                await get(address)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly a part",
        packed(gzip.compress(TEXT)[:-9], "gzip"),
    ],
)
async def test_broken_connections_are_worth_another_attempt(answer: bytes) -> None:
    async with raw(answer) as address:
        with pytest.raises(errors.TransientError):
            await get(address)


async def test_a_reset_connection_is_worth_another_attempt() -> None:
    async with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", reset=True) as address:
        with pytest.raises(errors.TransientError, match="the connection broke"):
            await get(address)


async def test_a_closed_port_is_worth_another_attempt() -> None:
    async with site(feed) as address:
        pass
    with pytest.raises(errors.TransientError, match="no connection is possible"):
        await get(address)


def test_everything_works_under_uvloop_too() -> None:
    async def main() -> tuple[stages.Page, str]:
        async with site(feed) as address, fetch.Fetcher(LIMITS, [address]) as fetcher:
            page = await fetcher.fetch(f"http://{address}/feed")
            with pytest.raises(errors.PermanentError) as caught:
                await fetcher.fetch("http://localhost/")
            return page, str(caught.value)

    page, refusal = uvloop.run(main())

    assert page.status == 200
    assert "refused" in refusal
