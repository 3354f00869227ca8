"""The researcher asks platforms over real HTTP, and what earlier executions got out of a source ranks it."""

import json
from collections.abc import AsyncIterator, Sequence

import pytest
from aiohttp import web

from consumers import harness
from consumers.analysis import local
from consumers.stages import rss_librarian, topic_researcher
from consumers.stages.common import platforms
from contracts import artifacts, intelligence, memory
from infra import fetch
from producer import datasets

PODCASTS = {
    "results": [
        {
            "feedUrl": "https://pod.example/solar",
            "collectionName": "Solar power talk",
            "collectionViewUrl": "https://pod.example/",
        },
        {"feedUrl": "javascript:alert(1)", "collectionName": "Renewable energy tricks"},
        {"feedUrl": "https://pod.example/bread", "collectionName": "The sourdough hour"},
        {"collectionName": "No address at all"},
        "not an entry",
    ]
}


class Directories:
    """A server of directories on loopback that notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.address = ""

    async def podcasts(self, request: web.Request) -> web.Response:
        """A directory as Apple's answers, among good entries some that are none."""
        self.asked.append(request.query["term"])
        return web.Response(text=json.dumps(PODCASTS), content_type="text/javascript")

    async def broken(self, request: web.Request) -> web.Response:
        """An answer that is no JSON."""
        return web.Response(text="<html>busy</html>")


@pytest.fixture
async def directories() -> AsyncIterator[Directories]:
    served = Directories()
    application = web.Application()
    application.router.add_get("/podcasts", served.podcasts)
    application.router.add_get("/broken", served.broken)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    served.address = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield served
    finally:
        await runner.cleanup()


@pytest.fixture(scope="module")
def analyst() -> local.LocalAnalyst:
    return local.packaged()


def entry(url: str, title: str) -> artifacts.CatalogueEntry:
    return artifacts.CatalogueEntry(url=url, title=title, language="en", topics=("renewable energy",))


CATALOGUE = artifacts.Catalogue(
    records=(
        entry("https://www.youtube.com/feeds/videos.xml?channel_id=1", "Renewable energy films"),
        entry("https://export.arxiv.org/rss/renewable-energy", "Renewable energy papers"),
        entry("https://renewable.example/feed", "Renewable energy news"),
        entry("https://energy.example/feed", "Renewable energy today"),
    )
)


def asked(served: Directories, form: str, path: str) -> artifacts.Platform:
    directory = artifacts.Directory(items="results", url="feedUrl", title="collectionName", site="collectionViewUrl")
    return artifacts.Platform(
        name=form, kind="podcast", search=f"http://{served.address}{path}?term={{query}}", quality=0.6, note="a test",
        directory=directory,
    )  # fmt: skip


async def research(
    analyst: local.LocalAnalyst, served: Directories, found: Sequence[artifacts.Platform], **changes: object
) -> tuple[artifacts.ResearchPlan, harness.Result[artifacts.ResearchPlan]]:
    task = intelligence.ResearcherInput.model_validate(
        {
            "topic": "renewable energy",
            "catalogue": CATALOGUE,
            "platforms": artifacts.Platforms(records=tuple(found)),
        }
        | changes
    )
    async with fetch.Fetcher(allow=[served.address]) as pages:
        result = await harness.run(topic_researcher, task, analyst=analyst, fetch=pages.fetch)
    return result.output, result


async def test_a_directory_gives_the_feeds_that_fit_and_no_others(
    analyst: local.LocalAnalyst, directories: Directories
) -> None:
    plan, _ = await research(analyst, directories, [asked(directories, "Pods", "/podcasts")], kinds=["podcast"])
    assert directories.asked == ["renewable energy"]
    (source,) = plan.records
    assert (source.url, source.title, source.site) == ("https://pod.example/solar", "Solar power talk", "pod.example")
    assert (source.kind, source.platform, source.quality) == ("podcast", "Pods", 0.6)
    assert source.reason == "listed by Pods; a test"


async def test_a_directory_that_does_not_answer_costs_nothing_but_its_feeds(
    analyst: local.LocalAnalyst, directories: Directories
) -> None:
    found = [asked(directories, "Broken", "/broken"), asked(directories, "Pods", "/podcasts")]
    plan, result = await research(analyst, directories, found)
    assert {source.kind for source in plan.records} == {"rss", "youtube", "academic", "podcast"}
    assert any("did not answer" in line and "no JSON" in line for _, line in result.log)


async def test_platforms_are_asked_only_when_that_is_wanted(
    analyst: local.LocalAnalyst, directories: Directories
) -> None:
    plan, _ = await research(analyst, directories, [asked(directories, "Pods", "/podcasts")], ask_platforms=False)
    assert directories.asked == []
    assert {source.platform for source in plan.records} == {"", "YouTube", "arXiv"}
    only, _ = await research(analyst, directories, [], kinds=["youtube"])
    assert [source.platform for source in only.records] == ["YouTube"]


async def test_a_search_that_is_a_feed_is_one_source_with_the_topic_in_its_address(
    analyst: local.LocalAnalyst, directories: Directories
) -> None:
    packaged = datasets.platforms().records
    searches = [each for each in packaged if each.directory is None]
    plan, _ = await research(analyst, directories, searches, topic="Künstliche Intelligenz", max_sources=0)
    by_name = {source.platform: source for source in plan.records}
    assert by_name.keys() == {"arXiv", "Reddit", "Mastodon", "Stack Overflow"}
    assert "%22artificial%20intelligence%22" in by_name["arXiv"].url
    assert by_name["Mastodon"].url.endswith("/artificialintelligence.rss")
    assert by_name["arXiv"].score > by_name["Reddit"].score


async def test_what_earlier_executions_got_out_of_a_source_ranks_it(analyst: local.LocalAnalyst) -> None:
    task = intelligence.LibrarianInput(topic="renewable energy", catalogue=CATALOGUE)
    before = (await harness.run(rss_librarian, task, analyst=analyst)).output.records
    good = memory.SourceHistory(runs=3, failures=0, articles=30, relevant=20, duplicates=0, used=9)
    bad = memory.SourceHistory(runs=3, failures=2, articles=10, relevant=1, duplicates=1, used=0)
    last, first = before[-1].url, before[0].url
    past = harness.Memory(sources={last: good, first: bad})
    after = (await harness.run(rss_librarian, task, analyst=analyst, memory=past)).output.records
    order = [source.url for source in after]
    assert order.index(last) < order.index(first)
    reasons = {source.url: source.reason for source in after}
    assert reasons[last].endswith("gave 9 articles to 3 earlier reports")
    assert reasons[first].endswith("gave 0 articles to 3 earlier reports, could not be read for 2")


@pytest.mark.parametrize(
    ("url", "kind", "name"),
    [
        ("https://www.youtube.com/feeds/videos.xml?user=x", "youtube", "YouTube"),
        ("https://notyoutube.com/feed", "rss", ""),
        ("https://feeds.megaphone.fm/x", "podcast", "Megaphone"),
        ("http://export.arxiv.org/rss/cs.AI", "academic", "arXiv"),
        ("https://www.reddit.com/r/python/.rss", "social", "Reddit"),
        ("https://news.example/feed", "rss", ""),
    ],
)
def test_the_address_of_a_feed_tells_its_platform(url: str, kind: str, name: str) -> None:
    assert platforms.place(url) == (kind, name)
