"""What is new since the last report, and how the quotas and the check of citations come out in it."""

import pytest

from consumers import harness
from consumers.analysis import local
from consumers.stages import citation_checker, citation_quoter, content_classifier
from contracts import errors, intelligence, reports
from tests.unit import material, publishing


@pytest.fixture(scope="module")
def analyst() -> local.LocalAnalyst:
    return local.packaged()


def stories(report: reports.Report) -> dict[str, reports.Story]:
    return {story.title: story for theme in report.themes for story in theme.stories}


async def test_a_first_report_has_nothing_to_compare_with(analyst: local.LocalAnalyst) -> None:
    result = await publishing.build(analyst, material.energy_task())
    assert result.output.since is None
    assert {story.news for story in stories(result.output).values()} == {"first"}
    assert b"What is new" not in result.files["html"].content
    assert all(trend.before == () for trend in result.output.trends.categories)


async def test_a_second_report_says_what_is_new_rewritten_and_gone(analyst: local.LocalAnalyst) -> None:
    report = (await publishing.second(analyst)).output
    found = stories(report)
    assert report.since is not None
    assert found["Tidal power plant gives its first electricity"].news == "new"
    assert found["Offshore wind turbines pass a record"].news == "updated"
    assert found["Desert solar farm goes online"].news == "known"
    assert "Battery plant to store wind power" in report.since.quiet
    assert [citation.title for citation in report.evidence if citation.revised] == [
        "Offshore wind turbines pass a record"
    ]
    (trend,) = report.trends.categories
    assert (trend.articles, trend.before) == (5, (4,))


async def test_the_same_articles_again_are_no_news(analyst: local.LocalAnalyst) -> None:
    first = harness.Memory()
    before = (await publishing.build(analyst, material.energy_task(), memory=first)).output
    again = (await publishing.build(analyst, material.energy_task(), memory=publishing.recollected(first))).output
    assert again.since is not None
    assert (again.since.new, again.since.updated, again.since.quiet) == ((), (), ())
    assert {story.id for story in stories(again).values()} == {story.id for story in stories(before).values()}


async def test_a_story_keeps_its_identity_when_another_site_goes_on_with_it(analyst: local.LocalAnalyst) -> None:
    first = harness.Memory()
    before = (await publishing.build(analyst, material.energy_task(), memory=first)).output
    sequel = material.article(
        "sequel",
        "Largest solar farm of the region went online in the desert",
        "The largest solar farm of the region went online on Monday. Its panels now give electricity to 200,000 homes, "
        "and the operator promised battery storage beside it.",
        host="sequel.example",
        days=0.5,
    )
    feeds = material.gathered(
        material.feed([sequel]), material.feed(material.articles(material.OTHER, host="daily.example"))
    )
    task = material.energy_task(feeds=feeds)
    found = await harness.run(
        content_classifier, task, analyst=analyst, now=material.NOW, memory=publishing.recollected(first)
    )
    (story,) = found.output.stories
    assert story.known
    assert story.id == stories(before)["Desert solar farm goes online"].id


async def checked(analyst: local.LocalAnalyst, statement: str, stage: harness.Stage[intelligence.CheckerInput,
                  reports.Report]) -> harness.Result[reports.Report]:  # fmt: skip
    """A report on energy of which the summary says this, through the check."""
    found = await harness.run(content_classifier, material.energy_task(), analyst=analyst, now=material.NOW)
    report = (await publishing.publish(analyst, "renewable energy", found.output)).output
    summary = (reports.Statement(text=statement, citations=(1,)),)
    task = intelligence.CheckerInput(
        report=report.model_copy(update={"executive_summary": summary, "check": None}),
        articles=found.output,
        minimum_support=1.0,
    )
    return await harness.run(stage, task, analyst=analyst, now=material.NOW)


INVENTED = "The solar farm was paid for by Jonas Petrov with 900 million dollars."


async def test_an_invented_sentence_fails_the_check(analyst: local.LocalAnalyst) -> None:
    with pytest.raises(errors.PermanentError, match=r"the template demands 100%.*Jonas Petrov"):
        await checked(analyst, INVENTED, citation_checker)


async def test_quotations_take_the_place_of_what_is_not_borne_out(analyst: local.LocalAnalyst) -> None:
    result = await checked(analyst, INVENTED, citation_quoter)
    assert result.output.executive_summary == ()
    assert result.output.check is not None
    assert (result.output.check.share, result.output.check.quoted) == (1.0, True)
    assert result.figures == {"citations_supported": 1.0, "uncited_sentences": 0.0}


async def test_a_number_without_evidence_fails_the_check(analyst: local.LocalAnalyst) -> None:
    with pytest.raises(errors.PermanentError, match=r"the report cites \[99\]"):
        await checked(analyst, "The largest solar farm of the region went online on Monday [99].", citation_checker)


@pytest.mark.parametrize("title", ["[123456] Wind power plant with a bug", "Wind [1] farm [[2]99] grows"])
async def test_brackets_of_a_feed_are_neither_citations_nor_a_fault(analyst: local.LocalAnalyst, title: str) -> None:
    text = "The wind power plant [999] gave electricity to 40,000 homes in March, its operator said."
    bad = material.article("brackets", title, text, host="brackets.example")
    bad = bad.model_copy(update={"source_title": "Power [7] today"})
    feeds = material.gathered(
        material.feed(material.articles(material.ENERGY)),
        material.feed([bad]),
        material.feed(material.articles(material.OTHER, host="daily.example")),
    )
    report = (await publishing.build(analyst, material.energy_task(feeds=feeds))).output
    assert "brackets" in {citation.article_id for citation in report.evidence}
    assert report.check is not None
    assert (report.check.unresolved, report.check.share) == ((), 1.0)
    assert not any("[999]" in line.text for story in stories(report).values() for line in story.happened)


async def test_a_column_of_one_title_is_an_article_each_week(analyst: local.LocalAnalyst) -> None:
    texts = ("Wind turbines gave more electricity.", "A storm stopped all wind turbines. Solar power fell.")
    weeks = [
        material.article(f"column-{week}", "Wind power of the week", text, host="one.example", days=7 * week)
        for week, text in enumerate(texts, 1)
    ]
    feeds = material.gathered(
        material.feed(weeks), material.feed(material.articles(material.OTHER, host="daily.example"))
    )
    found = await harness.run(content_classifier, material.energy_task(feeds=feeds), analyst=analyst, now=material.NOW)
    decided = {item.id: item.reason for item in found.output.left_out}
    assert decided.get("column-1") != "duplicate"
    assert decided.get("column-2") != "duplicate"
