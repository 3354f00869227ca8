"""Reports on real feeds: six topics, a thin one, a German one and a misspelt one among them."""

import collections
import datetime
from pathlib import Path

import pytest

from consumers.analysis import local
from consumers.stages.feeds import reader
from contracts import artifacts, errors, intelligence, reports
from contracts.messages import ShardFailure
from producer import collection
from tests.unit import publishing

FEEDS = Path(__file__).parents[3] / "shared" / "data" / "feeds"
NOW = datetime.datetime(2026, 2, 20, 12, tzinfo=datetime.UTC)
"""The feeds were captured up to this day."""

pytestmark = pytest.mark.skipif(not FEEDS.is_dir(), reason=f"the captured feeds are not there: {FEEDS}")

Gathered = intelligence.Gathered[artifacts.ArticleSet]


@pytest.fixture(scope="module")
def analyst() -> local.LocalAnalyst:
    return local.packaged()


@pytest.fixture(scope="module")
def gathered() -> Gathered:
    """Every feed of the folder as the fetcher reads it."""
    outputs: list[artifacts.ArticleSet] = []
    failures: list[ShardFailure] = []
    for shard, feed in enumerate(collection.of_folder(FEEDS).feeds, start=1):
        url = f"http://127.0.0.1/{feed.path}"
        source = artifacts.Source(
            url=url, title=feed.title, site=feed.site, relevance=1, quality=1, score=1, reason="a test"
        )
        body = (FEEDS / feed.path).read_bytes()
        request = reader.Request(source=source, url=url, body=body, charset="", max_articles=50, now=NOW)
        try:
            outputs.append(reader.read(request))
        except errors.StageError as error:
            failures.append(
                ShardFailure(shard=shard, error_class=error.error_class, explanation=str(error), details={"url": url})
            )
    return Gathered(outputs=tuple(outputs), failures=tuple(failures))


async def told(analyst: local.LocalAnalyst, gathered: Gathered, topic: str) -> reports.Report:
    task = intelligence.ClassifierInput(topic=topic, feeds=gathered)
    return (await publishing.build(analyst, task, now=NOW)).output


@pytest.mark.parametrize(
    "topic",
    [
        "artificial intelligence",
        "climate and energy",
        "security vulnerabilities",
        "Künstliche Intelligenz",
        "artifical inteligence",
    ],
)
async def test_a_report_keeps_its_promises(analyst: local.LocalAnalyst, gathered: Gathered, topic: str) -> None:
    report = await told(analyst, gathered, topic)
    stories = [story for theme in report.themes for story in theme.stories]
    assert report.enough
    assert report.executive_summary
    assert report.check is not None
    assert report.check.unresolved == ()
    assert report.check.uncited == ()
    assert report.check.share >= 0.98
    # Each article is told once, and no two stories begin alike.
    cited = [number for story in stories for number in (story.citation, *story.further)]
    assert sorted(cited) == [citation.number for citation in report.evidence]
    assert len({story.title.casefold() for story in stories}) == len(stories)
    sites = collections.Counter(citation.site for citation in report.evidence)
    assert max(sites.values()) <= max(3, -(-len(report.evidence) // 5))


async def test_other_words_for_one_topic_give_one_report(analyst: local.LocalAnalyst, gathered: Gathered) -> None:
    found = [await told(analyst, gathered, topic) for topic in ("artificial intelligence", "artifical inteligence")]
    assert found[0].evidence == found[1].evidence


async def test_a_topic_that_the_feeds_hardly_cover_says_so(analyst: local.LocalAnalyst, gathered: Gathered) -> None:
    report = await told(analyst, gathered, "medieval coinage")
    assert not report.enough
    assert report.executive_summary == ()
    assert report.title == "Medieval coinage: not enough material"
