"""Writes the report: stories by theme, what is new, trends, and a summary, every sentence cited."""

from consumers.stages.common import lexicon
from consumers.stages.report import compose, groups
from contracts import intelligence, reports, stages

SPEC = intelligence.REPORT_WRITER

STATEMENTS = 6
"""Sentences of the summary: as many as people read before they decide what to read."""


async def run(ctx: stages.StageContext, task: intelligence.WriterInput) -> reports.Report:
    """The report, not checked yet; where there is too little material it is short and sums nothing up."""
    topic = lexicon.topic(task.topic)
    divided = groups.groups(task.articles.records)
    ordered = groups.weightiest(divided)
    await ctx.progress(0.1, f"{len(ordered)} stories in {len(divided)} themes")
    tellings = await ctx.analyst.tell(topic, [compose.evidence(story) for story in ordered])
    await ctx.progress(0.7, "stories told")
    enough = compose.is_enough(task.articles.records)
    brief = await ctx.analyst.brief(topic, tellings, STATEMENTS) if enough else ()
    material = compose.Material(
        analysed=task.articles,
        divided=divided,
        tellings={story[0].story: telling for story, telling in zip(ordered, tellings, strict=True)},
        brief=brief,
        made=(*task.articles.made, ctx.analyst.made()),
    )
    return compose.report(material, task.topic, task.title, ctx.now())
