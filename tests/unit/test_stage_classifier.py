"""The classifier keeps what is worth reading and says of everything else why not, whatever order it came in."""

import random

import pytest

from consumers import harness
from consumers.analysis import local
from consumers.stages import content_classifier
from contracts import artifacts, intelligence
from tests.unit import material


@pytest.fixture(scope="module")
def analyst() -> local.LocalAnalyst:
    return local.packaged()


async def classify(analyst: local.LocalAnalyst, task: intelligence.ClassifierInput) -> artifacts.AnalysedArticles:
    return (await harness.run(content_classifier, task, analyst=analyst, now=material.NOW)).output


def reasons(found: artifacts.AnalysedArticles) -> dict[str, str]:
    return {item.id: item.reason for item in found.left_out}


async def test_what_is_about_the_topic_is_kept_and_the_rest_left_out(analyst: local.LocalAnalyst) -> None:
    found = await classify(analyst, material.energy_task())
    assert {record.article.site for record in found.records} == {"news.example"}
    assert len(found.records) >= 4
    assert set(reasons(found).values()) == {"irrelevant"}
    assert all("relevance 0." in item.detail for item in found.left_out)


async def test_every_article_is_accounted_for_once(analyst: local.LocalAnalyst) -> None:
    found = await classify(analyst, material.energy_task())
    ids = [record.article.id for record in found.records] + [item.id for item in found.left_out]
    assert sorted(ids) == sorted(item.id for item in [*material.articles(material.ENERGY), *other_site()])


def other_site() -> list[artifacts.Article]:
    return material.articles(material.OTHER, host="daily.example")


async def test_the_order_of_feeds_and_articles_does_not_matter(analyst: local.LocalAnalyst) -> None:
    feeds = [material.feed(material.articles(material.ENERGY)), material.feed(other_site())]
    mixed = [
        feed.model_copy(update={"records": tuple(random.Random(5).sample(feed.records, len(feed.records)))})
        for feed in reversed(feeds)
    ]
    straight = await classify(analyst, material.energy_task(feeds=material.gathered(*feeds)))
    shuffled = await classify(analyst, material.energy_task(feeds=material.gathered(*mixed)))
    assert straight.model_dump_json() == shuffled.model_dump_json()


async def test_the_earliest_of_two_copies_stays(analyst: local.LocalAnalyst) -> None:
    original, *others = material.articles(material.ENERGY)
    copy = material.article("copy-1", original.title, original.text + " Sign up.", host="copy.example", days=0.5)
    feeds = material.gathered(material.feed([original, *others]), material.feed([copy]), material.feed(other_site()))
    found = await classify(analyst, material.energy_task(feeds=feeds))
    kept = {record.article.id: record for record in found.records}
    assert kept[original.id].also == ("copy-1",)
    assert reasons(found)["copy-1"] == "duplicate"
    assert original.title in next(item.detail for item in found.left_out if item.id == "copy-1")


async def test_one_article_in_two_feeds_counts_once(analyst: local.LocalAnalyst) -> None:
    articles = material.articles(material.ENERGY)
    again = articles[0].model_copy(update={"id": "other-id", "source_url": "https://news.example/second"})
    feeds = material.gathered(material.feed(articles), material.feed([again]), material.feed(articles))
    found = await classify(analyst, material.energy_task(feeds=feeds))
    ids = [record.article.id for record in found.records] + [item.id for item in found.left_out]
    assert len(ids) == len(set(ids)) == len(articles) + 1
    assert reasons(found)["other-id"] == "duplicate"


async def test_limits_of_age_and_language_are_named(analyst: local.LocalAnalyst) -> None:
    german = material.article("de-1", "Solarstrom aus der Wüste", "Der Park liefert Strom.", language="de")
    undated = material.article("undated", "Wind power", "Wind power gives electricity to the grid.", days=None)
    feeds = material.gathered(material.feed([*material.articles(material.ENERGY), german, undated]))
    found = await classify(analyst, material.energy_task(feeds=feeds, max_age_days=3, languages=["en"]))
    assert reasons(found)["de-1"] == "language"
    assert {identifier for identifier, reason in reasons(found).items() if reason == "old"} == {
        "news.example-004",
        "news.example-005",
        "news.example-006",
    }
    assert reasons(found).get("undated") != "old"


async def test_the_limit_keeps_the_best_and_no_site_takes_all(analyst: local.LocalAnalyst) -> None:
    lines = material.ENERGY.splitlines()
    feeds = [
        material.feed(material.articles("\n".join(lines[:4]), host="one.example")),
        material.feed(material.articles("\n".join(lines[4:]), host="two.example")),
        material.feed(other_site()),
    ]
    found = await classify(analyst, material.energy_task(feeds=material.gathered(*feeds), max_articles=3))
    assert len(found.records) == 3
    assert {record.article.site for record in found.records} == {"one.example", "two.example"}
    assert "over_limit" in reasons(found).values()


async def test_an_advertisement_without_text_is_left_out(analyst: local.LocalAnalyst) -> None:
    offer = material.article("offer", "SOLAR PANELS 50% OFF", "Solar panels: coupon, buy now", days=None)
    feeds = material.gathered(material.feed([*material.articles(material.ENERGY), offer]), material.feed(other_site()))
    assert reasons(await classify(analyst, material.energy_task(feeds=feeds)))["offer"] in ("low_quality", "irrelevant")


async def test_failed_feeds_and_yields_are_told(analyst: local.LocalAnalyst) -> None:
    found = await classify(analyst, material.energy_task())
    assert found.failures == (material.FAILURE,)
    used = {source.url: (source.articles, source.used) for source in found.sources}
    assert used["https://daily.example/feed"] == (6, 0)
    assert used["https://news.example/feed"] == (6, len(found.records))


async def test_each_article_says_why_it_was_chosen(analyst: local.LocalAnalyst) -> None:
    found = (await classify(analyst, material.energy_task())).records
    totals = [record.scores.total for record in found]
    assert totals == sorted(totals, reverse=True)
    for rank, record in enumerate(found, start=1):
        assert record.category
        assert record.why.startswith(f"number {rank} by a score of {record.scores.total:.2f}: relevance")


async def test_nothing_in_nothing_out(analyst: local.LocalAnalyst) -> None:
    found = await classify(analyst, material.energy_task(feeds=material.gathered()))
    assert (found.records, found.left_out, found.sources) == ((), (), ())
    assert found.failures


async def test_words_of_a_plan_sharpen_the_topic(analyst: local.LocalAnalyst) -> None:
    plan = artifacts.ResearchPlan(topic="grid", angles=(), words=("wind turbines", "power", "coal"), records=())
    plain = await classify(analyst, material.energy_task(topic="the grid"))
    sharper = await classify(analyst, material.energy_task(topic="the grid", plan=plan))
    assert len(sharper.records) >= len(plain.records)
