"""What sites see of the factory's workers: real servers on loopback, a real database, two workers where it matters."""

import asyncio
import itertools
import sys

import pytest
from aiohttp import web

from contracts import errors
from infra import domains, egress, pages, sources, visits
from tests import sites
from tests.factories import Factory, eventually
from tests.integration.visiting import time_passes, worker
from tests.launcher import ROOT


async def source(tables: Factory, url: str) -> sources.Source:
    async with tables.pool.acquire() as connection:
        found = await sources.find(connection, url)
    assert found is not None
    return found


# --- Memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("etag", ['W/"weak, with comma"', '"x\u00e9"', "unquoted", '"a--gzip"'])
async def test_validators_go_back_as_they_came_and_a_304_gives_what_is_remembered(tables: Factory, etag: str) -> None:
    modified = "Sun, 06 Nov 1994 08:49:37 +0000"  # not the form that standards ask for, and it goes back as it is
    async with sites.serve() as site, worker(tables, site) as one, worker(tables, site) as two:
        site.keeps("/feed", "a b", ETag=etag, Last_Modified=modified)
        first = await one.follow(site.url("/feed"))
        await time_passes(tables)
        again = await two.follow(site.url("/feed"))

    assert (first.result, first.page.origin) == ("a b", "network")
    assert (again.result, again.page.origin) == ("a b", "unchanged")
    assert again.page.headers["content-type"] == "application/rss+xml"
    told = site("/feed")
    assert "If-None-Match" not in told[0]
    assert "If-Modified-Since" not in told[0]
    assert (told[1]["If-None-Match"], told[1]["If-Modified-Since"]) == (etag, modified)
    known = await source(tables, site.url("/feed"))
    assert (known.requests, known.unchanged, known.bytes_received, known.bytes_saved) == (2, 1, 3, 3)


async def test_a_validator_that_cannot_be_sent_back_as_it_came_is_not_sent(tables: Factory) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b'HTTP/1.1 200 OK\r\nETag: "\xe9"\r\nContent-Type: text/\xe9\r\n')
        writer.write(b"Content-Length: 1\r\nConnection: close\r\n\r\na")
        await writer.drain()
        writer.close()

    asked: list[bytes] = []
    server = await asyncio.start_server(broken, "127.0.0.1", 0)
    site = sites.Site()
    site.address = "{}:{}".format(*server.sockets[0].getsockname())
    async with server, worker(tables, site) as one:
        await one.follow(site.url("/feed"))
        await time_passes(tables)
        again = await one.follow(site.url("/feed"))

    assert again.page.origin == "network"
    assert len(asked) == 2
    assert b"if-none-match" not in asked[1].lower()


async def test_nobody_asks_again_within_the_least_interval_or_while_it_is_fresh(tables: Factory) -> None:
    eager = visits.Manners(feed_seconds=0.0, domain_seconds=0.0)
    async with sites.serve() as site, worker(tables, site) as one, worker(tables, site, manners=eager) as two:
        site.says("/plain", "a")
        site.says("/fresh", "b", Cache_Control="max-age=600", ETag='"1"')
        site.says("/never", "c", Cache_Control="no-store, max-age=600", ETag='"1"')
        for path in ("/plain", "/fresh", "/never"):
            for _ in range(2):
                await one.follow(site.url(path))
        assert [len(site(path)) for path in ("/plain", "/fresh", "/never")] == [1, 1, 1]
        again = await two.follow(site.url("/fresh"))
        assert (again.page.origin, again.result, len(site("/fresh"))) == ("memory", "b", 1)
        # What an operator allows to be asked for at any time is asked for, unless its server says otherwise.
        site.says("/eager", "d", Cache_Control="no-store", ETag='"1"')
        await two.follow(site.url("/eager"))
        assert (await two.follow(site.url("/eager"))).page.origin == "network"
    known = await source(tables, site.url("/plain"))
    assert (known.requests, known.remembered, known.bytes_saved) == (1, 1, 1)


async def test_what_is_too_large_to_remember_is_asked_for_without_a_condition(
    tables: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PACKED_LIMIT", 100)
    async with sites.serve() as site, worker(tables, site) as one:
        site.keeps("/feed", " ".join(map(str, range(1000))), ETag='"1"')
        assert (await one.follow(site.url("/feed"))).page.origin == "network"
        assert (await one.follow(site.url("/feed"))).page.origin == "network"

    assert ["If-None-Match" in headers for headers in site("/feed")] == [False, False]


async def test_two_workers_that_want_a_feed_at_once_ask_once(tables: Factory) -> None:
    going = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await going.wait()
        return web.Response(text="a")

    async with sites.serve() as site, worker(tables, site) as one, worker(tables, site) as two:
        site.answers["/feed"] = slow
        both = asyncio.gather(one.follow(site.url("/feed")), two.follow(site.url("/feed")))
        await eventually(lambda: _true(len(site("/feed")) == 1), "one asks")
        going.set()
        found = await both

    assert sorted(one.page.origin for one in found) == ["memory", "network"]
    assert len(site("/feed")) == 1


async def _true(value: bool) -> bool:
    return value


VISIT = """
import asyncio, sys
from infra import database, fetch, visits

async def main(database_url, address, url):
    async with (
        database.connect(database_url, application="test", size=1) as pool,
        fetch.Fetcher(allow=[address]) as fetcher,
    ):
        await visits.Visitor(fetcher, pool, visits.Manners()).remembered(url, {}, 5)

asyncio.run(main(*sys.argv[1:]))
"""
"""A worker of a process of its own, to be killed."""


async def test_a_worker_that_is_killed_while_it_asks_holds_nobody_up_for_long(tables: Factory) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    async with sites.serve() as site, worker(tables, site) as one:
        site.answers["/feed"] = silent
        url = site.url("/feed")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", VISIT, tables.settings.worker_database_url, site.address, url), cwd=ROOT
        )
        await eventually(lambda: _true(bool(site.asked)), "the other worker asks")
        process.kill()
        await process.wait()
        site.says("/feed", "a")
        with pytest.raises(errors.BusyError, match="asked for by another worker") as caught:
            await one.follow(url, patience=0.3)
        assert 0 < (caught.value.after or 0) < 60
        turns = await tables.fetch("SELECT extract(epoch FROM lease_until - now())::float8 AS s FROM shared.turns")
        assert [0 < row["s"] < 60 for row in turns] == [True]
        # What it held ends by itself.
        await tables.fetch("UPDATE shared.pages SET lease_until = lease_until - interval '1 minute'")
        await tables.fetch("UPDATE shared.turns SET lease_until = lease_until - interval '1 minute'")
        assert (await one.follow(url)).result == "a"
    assert await tables.fetch("SELECT id FROM shared.turns") == []


async def test_a_worker_that_comes_back_after_its_claim_has_lapsed_overwrites_nothing(tables: Factory) -> None:
    going = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        if len(site.asked) == 1:
            await going.wait()
            return web.Response(text="old")
        return web.Response(text="new")

    async with sites.serve() as site, worker(tables, site) as one, worker(tables, site) as two:
        site.answers["/feed"] = slow
        late = asyncio.create_task(one.follow(site.url("/feed")))
        await eventually(lambda: _true(len(site.asked) == 1), "the first asks")
        await tables.fetch("UPDATE shared.pages SET lease_until = now() - interval '1 second'")
        await two.follow(site.url("/feed"))
        going.set()
        assert (await late).result == "old"
        assert (await two.follow(site.url("/feed"))).result == "new"


# --- Failures --------------------------------------------------------------------------------------------------------


async def test_a_feed_that_fails_is_as_it_was_seen_last_and_left_alone_for_a_while(tables: Factory) -> None:
    async with sites.serve() as site, worker(tables, site) as one:
        site.keeps("/feed", "a", ETag='"1"')
        url = site.url("/feed")
        await one.follow(url)
        site.says("/feed", "sorry", status=500)
        await time_passes(tables)
        found = await one.follow(url)
        assert (found.result, found.page.origin) == ("a", "stale")
        assert "500 Internal Server Error" in found.page.because
        # Whoever asks again soon does not reach the site at all.
        await tables.fetch("UPDATE shared.pages SET next_at = now() + interval '1 minute'")
        again = await one.follow(url)
        assert (again.result, again.page.origin, len(site("/feed"))) == ("a", "stale", 2)
        assert "left alone for a while after 1 failures" in again.page.because
        # It has kept its validators, and is well again with the first good answer.
        site.keeps("/feed", "a", ETag='"1"')
        await time_passes(tables)
        assert (await one.follow(url)).page.origin == "unchanged"
    known = await source(tables, url)
    assert (known.failures, known.error, known.state) == (0, "", "healthy")


async def test_a_feed_that_turns_into_a_web_page_does_not_replace_what_was_good(tables: Factory) -> None:
    async with sites.serve() as site, worker(tables, site) as one:
        site.keeps("/feed", "a", ETag='"1"')
        url = site.url("/feed")
        await one.follow(url)
        site.keeps("/feed", "<html>we are moving house", ETag='"2"')
        await time_passes(tables)
        found = await one.follow(url)
        await time_passes(tables)
        await one.follow(url)

    assert (found.result, found.page.origin) == ("a", "stale")
    assert "not a feed" in found.page.because
    assert [headers.get("If-None-Match") for headers in site("/feed")] == [None, '"1"', '"1"']
    assert (await source(tables, url)).fault == "unreadable"


async def test_a_feed_that_was_never_read_tells_when_to_come_again(tables: Factory) -> None:
    async with sites.serve() as site, worker(tables, site) as one:
        site.says("/feed", "", status=500)
        url = site.url("/feed")
        with pytest.raises(errors.TransientError, match="500 Internal"):
            await one.follow(url)
        await tables.fetch("UPDATE shared.pages SET next_at = now() + interval '10 minutes'")
        with pytest.raises(errors.TransientError, match="left alone") as caught:
            await one.follow(url)
        assert 500 < (caught.value.after or 0) <= 600
        await tables.fetch("UPDATE shared.pages SET next_at = now() + interval '1 day'")
        with pytest.raises(errors.PermanentError, match=r"nothing is asked there for 2[34]\.\d hours"):
            await one.follow(url)

    assert len(site("/feed")) == 1


@pytest.mark.parametrize("status", [410, 404])
async def test_a_feed_that_is_gone_is_asked_for_again_when_a_week_has_passed(tables: Factory, status: int) -> None:
    async with sites.serve() as site, worker(tables, site) as one:
        site.says("/feed", "a")
        url = site.url("/feed")
        await one.follow(url)
        site.says("/feed", "", status=status)
        for _ in range(3):
            await time_passes(tables)
            await tables.fetch("UPDATE shared.pages SET failing_since = failing_since - interval '10 days'")
            await one.follow(url)
        known = await source(tables, url)
        rests = await tables.fetch("SELECT extract(epoch FROM next_at - now())::float8 AS s FROM shared.pages")
        site.says("/feed", "b")
        await time_passes(tables)
        assert (await one.follow(url)).result == "b"

    assert known.state == "gone"
    assert 0.7 * 7 < rests[0]["s"] / 86_400 < 1.3 * 7
    assert (await source(tables, url)).state == "healthy"


# --- Sites -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (429, {"Retry_After": "120"}),
        (503, {"Retry_After": "120"}),
        (403, {"Retry_After": "120"}),
        (429, {}),
        (403, {}),
    ],
)
async def test_a_refusal_holds_the_whole_domain_for_every_worker(
    tables: Factory, status: int, headers: dict[str, str]
) -> None:
    async with sites.serve() as site, worker(tables, site) as one, worker(tables, site) as two:
        site.says("/a", "", status=status, **headers)
        site.says("/b", "b")
        with pytest.raises(errors.StageError, match=str(status)) as refused:
            await one.follow(site.url("/a", "WWW.example.co.uk"))
        assert refused.value.details["url"] == site.url("/a", "WWW.example.co.uk")
        held = await tables.fetch("SELECT extract(epoch FROM hold_until - now())::float8 AS s FROM shared.domains")
        assert 0 < held[0]["s"] <= (120 if headers else 60)
        await tables.fetch("UPDATE shared.domains SET hold_until = now() + interval '2 minutes'")
        with pytest.raises(domains.HeldError, match=f"example.co.uk is on hold: it answered {status}") as caught:
            await two.follow(site.url("/b", "feeds.example.co.uk"), patience=0.1)
        assert 100 < (caught.value.after or 0) < 125
        # Another domain under the same public suffix is another site.
        assert (await two.follow(site.url("/b", "other.co.uk"))).result == "b"
        assert len(site("/b")) == 1
        await time_passes(tables)
        assert (await two.follow(site.url("/b", "feeds.example.co.uk"))).result == "b"
    strikes = await tables.fetch("SELECT strikes FROM shared.domains WHERE domain = 'example.co.uk'")
    assert strikes[0]["strikes"] == 0


async def test_a_hold_is_no_failure_of_a_feed_that_is_remembered(tables: Factory) -> None:
    async with sites.serve() as site, worker(tables, site) as one:
        site.keeps("/a", "a", ETag='"1"')
        site.says("/b", "", status=429, Retry_After="100000")
        await one.follow(site.url("/a", "a.example"))
        with pytest.raises(errors.PermanentError, match="429"):
            await one.follow(site.url("/b", "a.example"))
        await tables.fetch("UPDATE shared.pages SET next_at = now()")
        found = await one.follow(site.url("/a", "a.example"), patience=0.1)
        assert (found.result, found.page.origin) == ("a", "stale")
        assert "on hold" in found.page.because
        held = await tables.fetch("SELECT extract(epoch FROM hold_until - now())::float8 AS s FROM shared.domains")
        assert held[0]["s"] <= domains.LONGEST_HOLD
    assert (await source(tables, site.url("/a", "a.example"))).failures == 0


async def test_a_fan_out_over_one_platform_never_asks_it_more_than_twice_at_once(tables: Factory) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.05)
        return web.Response(text=request.path)

    async with sites.serve() as site, worker(tables, site) as one, worker(tables, site) as two:
        for number in range(20):
            site.answers[f"/{number}"] = slow
        wanted = [
            (one if number % 2 else two).follow(site.url(f"/{number}", f"user{number}.blogspot.com"), patience=60)
            for number in range(20)
        ]
        found = await asyncio.gather(*wanted)
        assert len(found) == len(site.asked) == 20
        assert (await tables.fetch("SELECT count(*) AS n FROM shared.turns"))[0]["n"] == 0
        assert site.most == domains.AT_ONCE


async def test_requests_to_a_domain_keep_their_distance(tables: Factory) -> None:
    apart = visits.Manners(domain_seconds=0.2)
    began: list[float] = []

    async def note(request: web.Request) -> web.StreamResponse:
        began.append(asyncio.get_running_loop().time())
        return web.Response(text="a")

    async with sites.serve() as site, worker(tables, site, manners=apart) as one:
        for number in range(4):
            site.answers[f"/{number}"] = note
        await asyncio.gather(*(one.follow(site.url(f"/{n}", "a.example"), patience=60) for n in range(4)))

    began.sort()
    assert len(began) == 4
    # The server notes a request a little later than the worker begins it, by more or less.
    assert min(later - sooner for sooner, later in itertools.pairwise(began)) > 0.1


async def test_whose_turn_comes_too_late_is_told_when(tables: Factory) -> None:
    apart = visits.Manners(domain_seconds=60.0)
    async with sites.serve() as site, worker(tables, site, manners=apart) as one:
        site.says("/a", "a")
        site.says("/b", "b")
        await one.follow(site.url("/a", "a.example"))
        with pytest.raises(errors.BusyError, match=r"a\.example is asked by other workers now") as caught:
            await one.follow(site.url("/b", "a.example"), patience=1)

    assert 30 < (caught.value.after or 0) <= 121
    assert not site("/b")


async def test_a_turn_that_was_lost_with_its_worker_ends_by_itself(tables: Factory) -> None:
    async with sites.serve() as site, worker(tables, site) as one:
        site.says("/a", "a")
        await tables.fetch(
            "INSERT INTO shared.turns (domain, lease_until) "
            "SELECT 'a.example', now() + interval '1 hour' FROM generate_series(1, 2)"
        )
        with pytest.raises(errors.BusyError, match="asked by other workers"):
            await one.follow(site.url("/a", "a.example"), patience=0.5)
        await tables.fetch("UPDATE shared.turns SET lease_until = now() - interval '1 second'")
        assert (await one.follow(site.url("/a", "a.example"))).result == "a"


async def test_the_operators_own_servers_are_asked_as_often_as_anybody_likes(tables: Factory) -> None:
    async with sites.serve() as site:
        own = visits.Manners(own=egress.parse_allowed([site.address]))
        async with worker(tables, site, manners=own) as one:
            site.says("/a", "a")
            for _ in range(3):
                assert (await one.follow(site.url("/a"))).page.origin == "network"
            site.says("/a", "", status=429)
            found = [await one.follow(site.url("/a")) for _ in range(2)]

    assert [each.page.origin for each in found] == ["stale", "stale"]
    assert len(site("/a")) == 5
    assert await tables.fetch("SELECT domain FROM shared.domains") == []


# --- Moves -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 308])
async def test_a_permanent_redirect_that_is_seen_twice_moves_the_source(tables: Factory, status: int) -> None:
    async with sites.serve() as site, worker(tables, site) as one:
        site.says("/old", "", status=status, Location="/middle")
        site.says("/middle", "", status=301, Location="/new")
        site.keeps("/new", "a", ETag='"1"')
        url = site.url("/old", "a.example")
        addresses = []
        for _ in range(3):
            followed = await one.follow(url)
            addresses.append(followed.address)
            await time_passes(tables)
        assert addresses == ["", site.url("/new", "a.example"), site.url("/new", "a.example")]
        assert [len(site(path)) for path in ("/old", "/new")] == [2, 3]
        # A new address that keeps failing is given up for the old one.
        site.says("/new", "", status=404)
        site.says("/old", "b")
        for _ in range(3):
            await one.follow(url)
            await time_passes(tables)
        assert (await one.follow(url)).result == "b"


async def test_a_redirect_that_is_not_permanent_all_the_way_moves_nothing(tables: Factory) -> None:
    async with sites.serve() as site, worker(tables, site) as one:
        site.says("/old", "", status=301, Location="/middle")
        site.says("/middle", "", status=302, Location="/new")
        site.says("/new", "a")
        for _ in range(3):
            assert (await one.follow(site.url("/old"))).address == ""
            await time_passes(tables)


async def test_a_redirect_moves_nothing_to_what_is_not_public(tables: Factory) -> None:
    async with sites.serve() as site, sites.serve() as inside, sites.serve() as refused:
        own = visits.Manners(domain_seconds=0.0, own=egress.parse_allowed([inside.address]))
        async with worker(tables, site, inside, manners=own) as one:
            site.says("/refused", "", status=301, Location=refused.url("/feed"))
            site.says("/own", "", status=301, Location=inside.url("/feed"))
            inside.says("/feed", "a")
            refused.says("/feed", "secret")
            for _ in range(3):
                with pytest.raises(errors.PermanentError, match="refused"):
                    await one.follow(site.url("/refused", "a.example"))
                assert (await one.follow(site.url("/own", "a.example"))).address == ""
                await time_passes(tables)

    assert refused.asked == []


# --- Pages -----------------------------------------------------------------------------------------------------------


async def test_a_page_that_is_no_feed_is_remembered_for_a_day_if_that_is_wanted(tables: Factory) -> None:
    async with sites.serve() as site, worker(tables, site) as one, worker(tables, site) as two:
        site.says("/robots.txt", "a")
        url = site.url("/robots.txt")
        assert (await one.visitor.get(url, {}, 1)).origin == "network"
        assert (await one.visitor.remembered(url, {}, 1)).origin == "network"
        assert (await two.visitor.remembered(url, {}, 1)).origin == "memory"
        assert len(site("/robots.txt")) == 2
    rests = await tables.fetch("SELECT extract(epoch FROM next_at - now())::float8 AS s FROM shared.pages")
    assert 0.9 < rests[0]["s"] / 86_400 <= 1
    async with tables.pool.acquire() as connection:
        assert await sources.listing(connection, None, 10) == []


async def test_a_url_with_a_password_is_not_even_written_down(tables: Factory) -> None:
    async with sites.serve() as site, worker(tables, site) as one:
        with pytest.raises(errors.PermanentError, match="password"):
            await one.follow("http://jo:hush@a.example/")
        with pytest.raises(errors.PermanentError, match="longer than 2048"):
            await one.follow("http://a.example/" + "\u00e9" * 1000)
    assert await tables.fetch("SELECT url FROM shared.pages") == []


async def test_a_database_that_is_away_is_not_the_fault_of_the_feed(tables: Factory) -> None:
    async with sites.serve() as site, worker(tables, site) as one:
        await one.pool.close()
        with pytest.raises(errors.OutageError):
            await one.follow(site.url("/feed"))


async def test_what_nobody_uses_is_forgotten(tables: Factory) -> None:
    async with sites.serve() as site, worker(tables, site) as one:
        site.keeps("/feed", "a", ETag='"1"')
        site.says("/page", "b")
        await one.follow(site.url("/feed", "a.example"))
        await one.visitor.remembered(site.url("/page", "a.example"), {}, 1)
        await tables.fetch("UPDATE shared.pages SET used_at = now() - interval '40 days', next_at = now()")
        await tables.fetch("UPDATE shared.domains SET used_at = now() - interval '40 days'")
        async with tables.pool.acquire() as connection:
            await pages.drop_stale(connection)
            await domains.drop_stale(connection)
        kept = await tables.fetch("SELECT kind, body FROM shared.pages")
        assert [tuple(row) for row in kept] == [("feed", None)]
        assert await tables.fetch("SELECT domain FROM shared.domains") == []
        # What is known of the feed is still known, and it is asked for as a whole.
        assert (await one.follow(site.url("/feed", "a.example"))).page.origin == "network"
    assert "If-None-Match" not in site("/feed")[-1]
