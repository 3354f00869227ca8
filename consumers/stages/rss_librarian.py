"""Ranks the feeds of the catalogue for a topic."""

from consumers.stages.common import lexicon, sources
from contracts import artifacts, intelligence, stages

SPEC = intelligence.RSS_LIBRARIAN


async def run(ctx: stages.StageContext, task: intelligence.LibrarianInput) -> artifacts.SourceList:
    """The best feeds by title, topics and address, spread over sites, each with its reason."""
    entries = task.catalogue.records
    topic = lexicon.topic(task.topic)
    await ctx.progress(0.1, f"ranking {len(entries)} feeds")
    relevance = await ctx.analyst.rank(topic, [sources.document(entry) for entry in entries])
    wanted = sources.Wanted(
        task.languages, task.max_sources, task.per_site, task.minimum_score, task.kinds, await ctx.memory.sources()
    )
    chosen = sources.choose(topic, entries, relevance, wanted)
    await ctx.progress(1.0, f"{len(chosen)} of {len(entries)} feeds chosen")
    return artifacts.SourceList(topic=task.topic, records=chosen, considered=len(entries))
