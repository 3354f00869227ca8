"""What is new since the last report, and how the quotas and the check of citations come out in it."""

import pytest

from consumers import harness
from consumers.analysis import local
from consumers.stages import citation_checker, citation_quoter, content_classifier
from contracts import artifacts, errors, intelligence, reports
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


async def test_an_invented_sentence_fails_the_check_and_may_be_tried_again(analyst: local.LocalAnalyst) -> None:
    with pytest.raises(errors.TransientError, match=r"the template demands 100%.*Jonas Petrov"):
        await checked(analyst, INVENTED, citation_checker)


async def test_quotations_take_the_place_of_what_is_not_borne_out(analyst: local.LocalAnalyst) -> None:
    result = await checked(analyst, INVENTED, citation_quoter)
    assert result.output.executive_summary == ()
    assert result.output.check is not None
    assert (result.output.check.share, result.output.check.quoted) == (1.0, True)
    assert result.figures == {"citations_supported": 1.0, "uncited_sentences": 0.0}


async def test_a_number_without_evidence_fails_the_check(analyst: local.LocalAnalyst) -> None:
    with pytest.raises(errors.TransientError, match="the report cites 99"):
        await checked(analyst, "The largest solar farm of the region went online on Monday [99].", citation_checker)


async def test_no_site_language_or_region_has_more_than_its_share(analyst: local.LocalAnalyst) -> None:
    lines = material.ENERGY.splitlines()
    every = [
        material.article(f"{host}-{number}", title, f"{text} Report {number} of {host}.", host=host, days=number)
        for host in ("one.co.uk", "two.co.uk", "three.de", "four.example")
        for number, (title, text) in enumerate((line.split("|") for line in [*lines, *material.LATER.splitlines()]), 1)
    ]
    varied = [_reworded(article, number) for number, article in enumerate(every)]
    feeds = [material.feed([each for each in varied if each.site == site]) for site in {each.site for each in varied}]
    found = (
        await harness.run(
            content_classifier,
            material.energy_task(feeds=material.gathered(*feeds), site_share=0.3, region_share=0.4),
            analyst=analyst,
            now=material.NOW,
        )
    ).output
    sites = [record.article.site for record in found.records]
    assert max(map(sites.count, sites)) <= found.limits["site"]
    assert sum(site.endswith(".uk") for site in sites) <= found.limits["region"]
    over = [item.detail for item in found.left_out if item.reason == "quota"]
    assert all("already has" in detail for detail in over)


def _reworded(article: artifacts.Article, number: int) -> artifacts.Article:
    """The article with its words in another order, so that it is no copy of the others."""
    words = article.text.split()
    turned = words[number % 7 :] + words[: number % 7]
    return article.model_copy(update={"text": " ".join(turned), "title": f"{article.title} {number}"})
