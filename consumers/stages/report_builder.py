"""Renders the report as HTML, Markdown and JSON, and remembers what it told."""

from consumers.stages.report import changes, html, markdown
from contracts import artifacts, intelligence, memory, reports, stages

SPEC = intelligence.REPORT_BUILDER


async def run(ctx: stages.StageContext, task: intelligence.BuilderInput) -> reports.Report:
    """The report, with its page attached as ``html`` and its text as ``markdown``; the output itself is the JSON."""
    await ctx.attach("html", html.render(task.report), "text/html; charset=utf-8")
    await ctx.attach("markdown", markdown.render(task.report), "text/markdown; charset=utf-8")
    await ctx.progress(0.8, "report written")
    await ctx.memory.keep(
        task.articles.subject,
        _told(task.report, task.articles),
        _stories(task.report, task.articles),
        _yields(task.articles),
    )
    return task.report


def _told(report: reports.Report, analysed: artifacts.AnalysedArticles) -> memory.PastReport:
    stories = [story for theme in report.themes for story in theme.stories]
    return memory.PastReport(
        told_at=report.created,
        articles=tuple(
            memory.ToldArticle(
                id=record.article.id, fingerprint=record.article.fingerprint, story=analysed.stories[record.story].id
            )
            for record in analysed.records
        ),
        counts=changes.counts(analysed.records),
        sites=len({record.article.site for record in analysed.records}),
        titles={story.id: story.title for story in stories},
    )


def _stories(report: reports.Report, analysed: artifacts.AnalysedArticles) -> list[memory.KnownStory]:
    titles = {story.id: story.title for theme in report.themes for story in theme.stories}
    latest = {
        number: max(record.article.published or story.began for record in analysed.records if record.story == number)
        for number, story in enumerate(analysed.stories)
    }
    return [
        memory.KnownStory(
            id=story.id, title=titles[story.id], trace=story.trace, began=story.began, latest=latest[number]
        )
        for number, story in enumerate(analysed.stories)
    ]


def _yields(analysed: artifacts.AnalysedArticles) -> list[memory.SourceYield]:
    read = [
        memory.SourceYield(
            url=source.url,
            articles=source.articles,
            relevant=source.relevant,
            duplicates=source.duplicates,
            used=source.used,
        )
        for source in analysed.sources
    ]
    failed = [
        memory.SourceYield(url=failure.details["url"], error=failure.explanation[:300])
        for failure in analysed.failures
        if "url" in failure.details
    ]
    return read + failed
