"""The librarian and the researcher: which feeds they choose, and why, whatever the order of the catalogue."""

import random

import pytest

from consumers import harness
from consumers.analysis import local
from consumers.stages import rss_librarian, topic_researcher
from consumers.stages.common import angles, lexicon, sources
from contracts import artifacts, intelligence
from producer import datasets


@pytest.fixture(scope="module")
def analyst() -> local.LocalAnalyst:
    return local.packaged()


@pytest.fixture(scope="module")
def catalogue() -> artifacts.Catalogue:
    return datasets.packaged()


async def find(
    analyst: local.LocalAnalyst, catalogue: artifacts.Catalogue, topic: str, **values: object
) -> artifacts.SourceList:
    task = intelligence.LibrarianInput.model_validate({"topic": topic, "catalogue": catalogue, **values})
    return (await harness.run(rss_librarian, task, analyst=analyst)).output


@pytest.mark.parametrize(
    ("topic", "tag"),
    [
        ("artificial intelligence", "artificial intelligence"),
        ("climate and energy", "climate"),
        ("cricket", "cricket"),
        ("computer security", "security"),
        ("video games", "video games"),
    ],
)
async def test_the_first_ten_feeds_are_about_the_topic(
    analyst: local.LocalAnalyst, catalogue: artifacts.Catalogue, topic: str, tag: str
) -> None:
    found = await find(analyst, catalogue, topic)
    fitting = [source for source in found.records[:10] if any(tag in path for path in source.topics)]
    assert len(fitting) >= 8
    assert found.considered == len(catalogue.records)


@pytest.mark.parametrize("phrase", ["Künstliche Intelligenz", "AI", "artifical inteligence"])
async def test_other_names_and_misspellings_lead_to_the_same_feeds(
    analyst: local.LocalAnalyst, catalogue: artifacts.Catalogue, phrase: str
) -> None:
    found = await find(analyst, catalogue, phrase)
    expected = await find(analyst, catalogue, "artificial intelligence")
    assert {source.url for source in found.records[:10]} == {source.url for source in expected.records[:10]}


async def test_a_topic_without_feeds_gets_none(analyst: local.LocalAnalyst, catalogue: artifacts.Catalogue) -> None:
    assert (await find(analyst, catalogue, "beekeeping")).records == ()


async def test_limits_are_kept(analyst: local.LocalAnalyst, catalogue: artifacts.Catalogue) -> None:
    found = await find(analyst, catalogue, "world news", languages=["de"], max_sources=3, per_site=1)
    assert 0 < len(found.records) <= 3
    assert {source.language for source in found.records} <= {"de", ""}
    sites = [sources.host(source.site, source.url) for source in found.records]
    assert len(set(sites)) == len(sites)


async def test_the_order_of_the_catalogue_does_not_matter(
    analyst: local.LocalAnalyst, catalogue: artifacts.Catalogue
) -> None:
    shuffled = list(catalogue.records)
    random.Random(3).shuffle(shuffled)
    other = await find(analyst, artifacts.Catalogue(records=tuple(shuffled)), "databases")
    assert (await find(analyst, catalogue, "databases")).model_dump_json() == other.model_dump_json()


async def test_every_source_says_why_it_was_chosen(analyst: local.LocalAnalyst, catalogue: artifacts.Catalogue) -> None:
    found = await find(analyst, catalogue, "cricket")
    assert found.records[0].reason.startswith("tagged sport/cricket")
    assert all(source.reason for source in found.records)


async def test_an_empty_catalogue_is_no_error(analyst: local.LocalAnalyst) -> None:
    empty = artifacts.Catalogue(records=())
    assert (await find(analyst, empty, "cricket")).records == ()
    task = intelligence.ResearcherInput(topic="cricket", catalogue=empty)
    assert (await harness.run(topic_researcher, task, analyst=analyst)).output.records == ()


async def test_the_researcher_gives_nothing_that_is_known(
    analyst: local.LocalAnalyst, catalogue: artifacts.Catalogue
) -> None:
    known = await find(analyst, catalogue, "rugby")
    task = intelligence.ResearcherInput(topic="rugby", catalogue=catalogue, known=known, max_sources=15)
    plan = (await harness.run(topic_researcher, task, analyst=analyst)).output
    urls = [source.url for source in plan.records]
    assert 0 < len(urls) <= 15
    assert len(set(urls)) == len(urls)
    assert not set(urls) & {source.url for source in known.records}
    assert any("sport" in path for source in plan.records[:5] for path in source.topics)


async def test_angles_suit_the_kind_of_topic(analyst: local.LocalAnalyst, catalogue: artifacts.Catalogue) -> None:
    task = intelligence.ResearcherInput(topic="cancer", catalogue=catalogue, max_sources=0)
    plan = (await harness.run(topic_researcher, task, analyst=analyst)).output
    assert {"What is new", "Treatment", "Prevention"} <= {angle.title for angle in plan.angles}
    assert all("cancer" in query for angle in plan.angles[1:] for query in angle.queries)
    assert "chemotherapy" in plan.words
    assert plan.records == ()


async def test_a_topic_that_nobody_knows_still_gets_questions(
    analyst: local.LocalAnalyst, catalogue: artifacts.Catalogue
) -> None:
    task = intelligence.ResearcherInput(topic="zither tuning", catalogue=catalogue)
    plan = (await harness.run(topic_researcher, task, analyst=analyst)).output
    assert len(plan.angles) >= 5


def test_the_lexicon_is_well_formed() -> None:
    entries = lexicon.load()
    assert len(entries) >= 120
    names = [lexicon.fold(name) for entry in entries for name in (entry.topic, *entry.names)]
    assert len(set(names)) == len(names)
    assert all(12 <= len(entry.words) <= 18 for entry in entries)
    assert all(len(angles.plan(entry.topic, entry.kind, entry.words)) >= 6 for entry in entries)


@pytest.mark.parametrize(
    ("phrase", "topics", "exact"),
    [
        ("Artificial Intelligence", ("artificial intelligence",), True),
        ("klimawandel", ("climate change",), True),
        ("Cyber-Security", ("computer security",), True),
        ("football and tennis", ("football", "tennis"), False),
        ("history of photography", ("history", "photography"), False),
        ("zither tuning", (), False),
    ],
)
def test_phrases_lead_to_the_topics_they_name(phrase: str, topics: tuple[str, ...], exact: bool) -> None:
    match = lexicon.find(phrase)
    assert {entry.topic for entry in match.entries} == set(topics)
    assert match.exact is exact
