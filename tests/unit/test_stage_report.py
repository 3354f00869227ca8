"""The report: every citation resolves, text from feeds stays text, and thin evidence gives no confident prose."""

import datetime
import itertools
import re
from html import parser as html_parser

import pytest

from consumers.analysis import local
from consumers.stages.report import html, markdown, view
from contracts import reports
from tests.unit import material, publishing


@pytest.fixture(scope="module")
def analyst() -> local.LocalAnalyst:
    return local.packaged()


class Page(html_parser.HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def values(self, tag: str, name: str) -> list[str]:
        return [value for found, attribute, value in self.attributes if (found, attribute) == (tag, name)]


def told(report: reports.Report) -> list[reports.Story]:
    return [story for theme in report.themes for story in theme.stories]


def cited(report: reports.Report) -> set[int]:
    sentences = [*report.executive_summary, *(line for story in told(report) for line in story.happened)]
    return {number for line in sentences for number in line.citations} | {
        number for story in told(report) for number in (story.citation, *story.further)
    }


async def test_every_citation_resolves_to_an_article_that_was_analysed(analyst: local.LocalAnalyst) -> None:
    report = (await publishing.build(analyst, material.energy_task())).output
    assert report.enough
    numbers = [citation.number for citation in report.evidence]
    assert numbers == list(range(1, len(numbers) + 1))
    assert cited(report) == set(numbers)
    ids = {article.id for article in material.articles(material.ENERGY)}
    assert {citation.article_id for citation in report.evidence} <= ids


async def test_the_summary_is_quoted_from_what_it_cites(analyst: local.LocalAnalyst) -> None:
    report = (await publishing.build(analyst, material.energy_task())).output
    articles = {article.id: article for article in material.articles(material.ENERGY)}
    evidence = {citation.number: articles[citation.article_id] for citation in report.evidence}
    assert report.executive_summary
    for line in report.executive_summary:
        assert any(line.text in f"{evidence[number].title} {evidence[number].text}" for number in line.citations), (
            line.text
        )


async def test_anchors_of_the_page_resolve(analyst: local.LocalAnalyst) -> None:
    page = Page((await publishing.build(analyst, material.energy_task())).files["html"].content)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    anchors = {value[1:] for value in page.values("a", "href") if value.startswith("#")}
    assert anchors <= set(ids)
    described = {value for _, name, value in page.attributes if name == "aria-labelledby"}
    assert described <= set(ids)


async def test_headings_descend_without_a_gap_and_landmarks_are_there(analyst: local.LocalAnalyst) -> None:
    page = Page((await publishing.build(analyst, material.energy_task())).files["html"].content)
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert {"header", "nav", "main", "footer"} <= set(page.tags)
    assert page.values("html", "lang") == ["en"]


async def test_the_page_holds_no_code_and_nothing_remote(analyst: local.LocalAnalyst) -> None:
    for result in (await publishing.build(analyst, material.energy_task()), await publishing.hostile(analyst)):
        page = Page(result.files["html"].content)
        forbidden = {"script", "iframe", "img", "link", "object", "embed", "form", "base", "video", "b", "include"}
        assert not forbidden & set(page.tags)
        names = {name for _, name, _ in page.attributes}
        assert not {name for name in names if name.startswith("on")} | ({"style", "src", "srcset"} & names)
        assert page.tags.count("style") == 1
        (policy,) = [value for value in page.values("meta", "content") if "default-src" in value]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy


async def test_links_go_to_the_evidence_and_nowhere_else(analyst: local.LocalAnalyst) -> None:
    result = await publishing.hostile(analyst)
    page = Page(result.files["html"].content)
    allowed = {view.link(citation.url) for citation in result.output.evidence} - {None}
    outside = [value for value in page.values("a", "href") if not value.startswith("#")]
    assert outside
    assert set(outside) <= allowed
    assert len(page.values("a", "rel")) == len(outside)
    assert set(page.values("a", "rel")) == {"noopener nofollow noreferrer"}


async def test_markdown_has_no_link_image_or_tag_from_a_feed(analyst: local.LocalAnalyst) -> None:
    result = await publishing.hostile(analyst)
    text = result.files["markdown"].content.decode()
    own = re.sub(r'<a id="e\d+"></a>', "", text)
    allowed = {markdown.address(citation.url) for citation in result.output.evidence}
    targets = re.findall(r"(?<!\\)\]\(<?([^)>]*)>?\)", own)
    assert {target for target in targets if not target.startswith("#e")} <= allowed - {""}
    unescaped = re.sub(r"\\.", "", own)
    assert "![" not in unescaped
    assert not re.search(r"<(?!https?://)", unescaped)
    assert not re.search(r"(?<!<)https?://", unescaped)


async def test_markdown_keeps_the_words_of_the_articles(analyst: local.LocalAnalyst) -> None:
    result = await publishing.build(analyst, material.energy_task())
    plain = re.sub(r"\\(.)", r"\1", result.files["markdown"].content.decode())
    assert all(citation.title in plain for citation in result.output.evidence)
    assert "the server answered 404" in plain


async def test_thin_evidence_is_said_and_not_dressed_up(analyst: local.LocalAnalyst) -> None:
    result = await publishing.build(analyst, material.energy_task(topic="medieval coinage"))
    report = result.output
    assert not report.enough
    assert report.executive_summary == ()
    page = result.files["html"].content.decode()
    assert "There is not enough material for a report" in page
    assert "12 articles in 2 feeds" in page
    assert "the server answered 404" in page
    assert "not enough material" in result.files["markdown"].content.decode()


async def test_a_report_on_nothing_at_all_is_still_a_page(analyst: local.LocalAnalyst) -> None:
    result = await publishing.build(analyst, material.energy_task(feeds=material.gathered()))
    assert not result.output.enough
    assert Page(result.files["html"].content).tags.count("h1") == 1


async def test_what_was_skipped_is_told_with_reasons(analyst: local.LocalAnalyst) -> None:
    result = await publishing.build(analyst, material.energy_task())
    page = result.files["html"].content.decode()
    assert "https://gone.example/feed" in page
    assert re.search(r"\b[6-8] not about the topic", page)


async def test_the_same_story_is_told_once_with_all_its_sources(analyst: local.LocalAnalyst) -> None:
    storm = [
        "Storm breaks wind turbine near Tarpon Bay|A storm broke a wind turbine near Tarpon Bay on Friday. "
        "The wind farm gives no electricity until the grid is repaired.",
        "Wind turbine near Tarpon Bay broken by storm|The storm of Friday has torn a blade off a wind turbine close to "
        "Tarpon Bay, the utility writes. Engineers hope to have it on the grid again before the summer.",
    ]
    feeds = material.gathered(
        material.feed(material.articles(material.ENERGY)),
        material.feed(material.articles(storm[0], host="one.example")),
        material.feed(material.articles(storm[1], host="two.example")),
        material.feed(material.articles(material.OTHER, host="daily.example")),
    )
    report = (await publishing.build(analyst, material.energy_task(feeds=feeds))).output
    stories = [story for story in told(report) if "Tarpon" in story.title]
    assert len(stories) == 1
    assert len(stories[0].further) == 1


async def test_the_same_input_and_time_give_the_same_bytes(analyst: local.LocalAnalyst) -> None:
    first, second = [await publishing.build(analyst, material.energy_task()) for _ in range(2)]
    assert first.files == second.files
    assert first.output == second.output
    later = first.output.model_copy(update={"created": material.NOW + datetime.timedelta(days=1)})
    assert b"21 March 2026" in html.render(later)


async def test_a_title_of_ones_own_is_used(analyst: local.LocalAnalyst) -> None:
    result = await publishing.build(analyst, material.energy_task(), title="Monday briefing")
    assert result.output.title == "Monday briefing"
    assert "<title>Monday briefing</title>" in result.files["html"].content.decode()


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://news.example/a", True),
        ("http://news.example", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("//news.example/a", False),
        ("https:///a", False),
        ("https://news.example/a b", False),
        ("https://[broken", False),
        ("", False),
    ],
)
def test_only_plain_web_addresses_become_links(url: str, safe: bool) -> None:
    assert (view.link(url) == url) is safe
