"""Writes the report as HTML, Markdown and JSON, with every statement cited."""

from consumers.stages.report import compose, html, markdown
from contracts import artifacts, intelligence, stages

SPEC = intelligence.REPORT_BUILDER

SENTENCES = 4
"""More than a summary has, so that all of its sentences are offered, in their order."""


async def run(ctx: stages.StageContext, task: intelligence.ReportInput) -> artifacts.Report:
    """The report, with its page attached as ``html`` and its text as ``markdown``; the output itself is the JSON."""
    summaries = {record.article.id: record.summary for record in task.articles.records}
    sentences = await ctx.analyst.key_points(list(summaries.values()), SENTENCES)
    report = compose.report(
        task.articles, dict(zip(summaries, sentences, strict=True)), task.topic, task.title, ctx.now()
    )
    await ctx.progress(0.4, f"{len(report.themes)} themes, {len(report.evidence)} citations")
    await ctx.attach("html", html.render(report), "text/html; charset=utf-8")
    await ctx.attach("markdown", markdown.render(report), "text/markdown; charset=utf-8")
    await ctx.progress(1.0, "report written")
    return report
