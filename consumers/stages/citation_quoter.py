"""Puts quotations in the place of sentences that their evidence does not bear, and checks again."""

import re
from collections.abc import Iterable

from consumers.stages.common import citations
from contracts import errors, intelligence, reports, stages

SPEC = intelligence.CITATION_QUOTER

SENTENCES = 2

_BRACKETS = re.compile(r"\[[\s\d]*\]")
"""A quotation leaves bracketed numbers out, which would read as citations."""


async def run(ctx: stages.StageContext, task: intelligence.CheckerInput) -> reports.Report:
    """The report without what is not borne out. A story that loses all its sentences is told by quoting its article.

    Raises PermanentError if even then a citation fails the check.
    """
    found = await citations.check(ctx.analyst, task.report, task.articles, task.minimum_support)
    good = {claim.text for claim in found.claims if claim.supported}
    report = await _quoted(ctx, task, good)
    check = await citations.check(ctx.analyst, report, task.articles, task.minimum_support)
    ctx.measure("citations_supported", check.share)
    ctx.measure("uncited_sentences", len(check.uncited))
    if check.unresolved or check.share < task.minimum_support:
        raise errors.PermanentError(f"even in quotations the evidence bears only {check.share:.0%} of the sentences")
    return report.model_copy(update={"check": check.model_copy(update={"quoted": True})})


async def _quoted(ctx: stages.StageContext, task: intelligence.CheckerInput, good: set[str]) -> reports.Report:
    articles = {record.article.id: record.article for record in task.articles.records}
    leads = {citation.number: articles[citation.article_id] for citation in task.report.evidence}
    numbers = [story.citation for theme in task.report.themes for story in theme.stories]
    bodies = [leads[number].text or leads[number].title for number in numbers]
    summaries = {
        number: _BRACKETS.sub("", summary).strip() or leads[number].source_title
        for number, summary in zip(numbers, await ctx.analyst.summarise(bodies, SENTENCES), strict=True)
    }

    def mended(story: reports.Story) -> reports.Story:
        quotation = reports.Statement(text=summaries[story.citation], citations=(story.citation,))
        kept = _kept(story.happened, good)
        matters = story.matters if story.matters is not None and story.matters.text in good else None
        return story.model_copy(
            update={
                "title": story.title if story.title in good else _BRACKETS.sub("", leads[story.citation].title),
                "happened": kept or (quotation,),
                "matters": matters,
                "differences": _kept(story.differences, good),
            }
        )

    themes = tuple(
        theme.model_copy(update={"stories": tuple(mended(story) for story in theme.stories)})
        for theme in task.report.themes
    )
    summary = _kept(task.report.executive_summary, good)
    return task.report.model_copy(update={"themes": themes, "executive_summary": summary})


def _kept(statements: Iterable[reports.Statement], good: set[str]) -> tuple[reports.Statement, ...]:
    return tuple(statement for statement in statements if statement.text in good)
