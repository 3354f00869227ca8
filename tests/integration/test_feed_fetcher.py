"""The feed fetcher reads feeds from a real server, through the guard, in a real child process."""

import contextlib
import datetime
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
import uvloop

from consumers import harness
from consumers.analysis import embedding, local
from consumers.runtime import isolation
from consumers.stages import feed_fetcher
from consumers.stages.feeds import reader
from contracts import artifacts, errors, intelligence
from infra import fetch
from producer import feedserver

A = TypeVar("A")
R = TypeVar("R")

SAMPLES = Path(__file__).parents[2] / "producer" / "samples" / "feeds"
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class Context(harness.Context):
    """The harness with a real network and real child processes."""

    def __init__(self, pages: fetch.Fetcher, children: isolation.ChildPool) -> None:
        analyst = local.LocalAnalyst(embedding.packaged())
        super().__init__(feed_fetcher.SPEC, analyst, pages.fetch, NOW)
        self._children = children

    async def isolated(self, function: Callable[[A], R], argument: A) -> R:
        """The result of the function from a child process."""
        return await self._children.run(function, argument)




@contextlib.asynccontextmanager
async def factory(folder: Path, limits: isolation.Limits | None = None) -> AsyncIterator[tuple[Context, str]]:
    """A context whose fetches are admitted to a server of the folder, and the server's address."""
    async with (
        feedserver.serve(folder) as address,
        fetch.Fetcher(allow=[address]) as pages,
        isolation.ChildPool(1, [reader.__name__], limits) as children,
    ):
        yield Context(pages, children), address


def task(url: str, limit: int = 50) -> intelligence.FetcherInput:
    source = artifacts.Source(url=url, title="", relevance=1, quality=1, score=1, reason="test")
    return intelligence.FetcherInput(source=source, max_articles=limit)


async def test_a_feed_becomes_the_same_articles_each_time_it_is_read() -> None:
    async with factory(SAMPLES) as (ctx, address):
        first = await feed_fetcher.run(ctx, task(f"http://{address}/cellcycle-weekly.xml"))
        again = await feed_fetcher.run(ctx, task(f"http://{address}/cellcycle-weekly.xml"))

    assert first == again
    assert (first.format, first.entries, len(first.records)) == ("RSS 2.0", 7, 7)
    assert first.source_url == f"http://{address}/cellcycle-weekly.xml"


def test_it_works_under_uvloop() -> None:
    async def main() -> artifacts.ArticleSet:
        async with factory(SAMPLES) as (ctx, address):
            return await feed_fetcher.run(ctx, task(f"http://{address}/sodium-and-salt.json", limit=2))

    found = uvloop.run(main())

    assert (found.format, found.entries, len(found.records)) == ("JSON Feed 1", 5, 2)


async def test_a_truncated_feed_is_read_with_a_note_in_artifact_and_log() -> None:
    async with factory(SAMPLES) as (ctx, address):
        found = await feed_fetcher.run(ctx, task(f"http://{address}/volta-workshop.xml"))

    assert found.entries == len(found.records) == 3
    assert "unclosed CDATA" in found.problems[0]
    assert "feed has problems" in ctx.lines[0][1]


async def test_every_failure_names_the_feed(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<!doctype html><title>Sorry</title>")
    (tmp_path / "empty.xml").touch()
    (tmp_path / "broken.json").write_text('{"version": "https://jsonfeed.org/version/1", "items": [')
    reasons = {
        "overvoltage.xml": "404 Not Found",
        "page.html": "web page, not a feed",
        "empty.xml": "empty",
        "broken.json": "the JSON is broken",
    }
    async with factory(tmp_path) as (ctx, address):
        for name, reason in reasons.items():
            with pytest.raises(errors.PermanentError, match=reason) as caught:
                await feed_fetcher.run(ctx, task(f"http://{address}/{name}"))
            assert caught.value.details["url"] == f"http://{address}/{name}"


async def test_a_feed_that_burns_the_processor_harms_nobody_else(tmp_path: Path) -> None:
    """Half a million unclosed tags keep feedparser's tolerant parser busy for ten seconds."""
    start = "<rss version='2.0'><channel><item><title>x</title><description>"
    (tmp_path / "bomb.xml").write_text(start + "<a " * 500_000)
    (tmp_path / "good.xml").write_bytes((SAMPLES / "policy-loop.xml").read_bytes())
    limits = isolation.Limits(cpu_seconds=2)
    async with factory(tmp_path, limits) as (ctx, address):
        with pytest.raises(errors.PermanentError, match="2 s of processor time") as caught:
            await feed_fetcher.run(ctx, task(f"http://{address}/bomb.xml"))
        assert caught.value.details == {"url": f"http://{address}/bomb.xml"}
        found = await feed_fetcher.run(ctx, task(f"http://{address}/good.xml"))

    assert found.entries == 5
