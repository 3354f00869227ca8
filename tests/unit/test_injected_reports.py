"""Orders and markup hidden in feeds change nothing of a report but the words that are quoted from that very article."""

import re

import pytest

from consumers.analysis import local
from contracts import intelligence, reports
from tests import injections
from tests.unit import material, publishing
from tests.unit.test_stage_report import Page

PLAIN = "The wind farm near the coast gave electricity to 40,000 homes in March, its operator said."


@pytest.fixture(scope="module")
def analyst() -> local.LocalAnalyst:
    return local.packaged()


def attempted(attempt: injections.Injection) -> intelligence.ClassifierInput:
    """The energy feeds with one more article that carries the attempt."""
    title, text = "Wind farm gives electricity to the coast", PLAIN
    match attempt.place:
        case "title":
            title = f"{title} {attempt.text}"[:300]
        case "body":
            text = f"{PLAIN} {attempt.text}"
        case "attribute":
            text = f'{PLAIN} <img alt="{attempt.text}" src="x">'
    bad = material.article("attempt", title, text, host="attempt.example")
    feeds = material.gathered(
        material.feed([*material.articles(material.ENERGY)]),
        material.feed([bad]),
        material.feed(material.articles(material.OTHER, host="daily.example")),
    )
    return material.energy_task(feeds=feeds)


def shape(page: Page) -> dict[str, int]:
    """How often the page has each tag that only its own template can have made."""
    tags = set(page.tags)
    return {tag: page.tags.count(tag) for tag in tags & {"h1", "h2", "section", "nav", "style", "meta", "table"}}


@pytest.fixture
async def harmless(analyst: local.LocalAnalyst) -> Page:
    nothing = injections.Injection("nothing", "body", "It rained.")
    return Page((await publishing.build(analyst, attempted(nothing))).files["html"].content)


@pytest.mark.parametrize("attempt", injections.ALL, ids=lambda attempt: attempt.name)
async def test_structure_and_links_stay_as_they_are(
    analyst: local.LocalAnalyst, harmless: Page, attempt: injections.Injection
) -> None:
    result = await publishing.build(analyst, attempted(attempt))
    page = Page(result.files["html"].content)
    assert shape(page) == shape(harmless)
    own = {citation.url for citation in result.output.evidence}
    assert {value for value in page.values("a", "href") if not value.startswith("#")} <= own
    unescaped = re.sub(r"\\.", "", re.sub(r'<a id="e\d+"></a>', "", result.files["markdown"].content.decode()))
    assert set(re.findall(r"\]\(<([^>]*)>\)", unescaped)) <= own
    assert not re.search(r"<(?!https?://)", unescaped)
    confined(result.output)


def confined(report: reports.Report) -> None:
    """Every sentence is borne out, and only the story of the attempt's own article cites it."""
    assert report.check is not None
    assert report.check.unresolved == ()
    assert all(claim.supported for claim in report.check.claims)
    numbers = {citation.number for citation in report.evidence if citation.article_id == "attempt"}
    for theme in report.themes:
        for story in theme.stories:
            if not numbers & {story.citation, *story.further}:
                assert not any(numbers & set(statement.citations) for statement in story.happened)


def test_the_corpus_is_large_and_varied() -> None:
    assert len({attempt.text for attempt in injections.ALL}) >= 40
    assert {attempt.place for attempt in injections.ALL} == {"title", "body", "attribute"}
