"""Finds angles and queries for a topic and, with them, further feeds."""

from collections.abc import Sequence

from consumers.stages.common import angles, lexicon, platforms, sources
from contracts import analysis, artifacts, intelligence, stages

SPEC = intelligence.TOPIC_RESEARCHER

RELATED = 4
"""How many neighbouring topics of the lexicon are searched for feeds besides the topic's own words."""

_RELATED_SCORE = 0.25
_SOURCE_SCORE = 0.22
_NEIGHBOUR_SHARE = 0.6
"""A feed found through a neighbouring topic counts this much: it is about something else first."""


async def run(ctx: stages.StageContext, task: intelligence.ResearcherInput) -> artifacts.ResearchPlan:
    """Angles by the kind of topic, its words, and feeds that the librarian did not give."""
    topic = await _worded(ctx, task.topic)
    found = angles.plan(task.topic, lexicon.kind(task.topic), topic.words)
    await ctx.progress(0.2, f"{len(found)} angles")
    records = await _further(ctx, task, topic)
    await ctx.progress(1.0, f"{len(records)} further feeds")
    return artifacts.ResearchPlan(
        topic=task.topic, angles=found, words=topic.words, records=records, made=ctx.analyst.made()
    )


async def _worded(ctx: stages.StageContext, phrase: str) -> analysis.Topic:
    """The topic with the lexicon's words, or, of one that it does not know, with those that the analysis gives."""
    topic = lexicon.topic(phrase)
    return topic if topic.words else lexicon.topic(phrase, further=await ctx.analyst.words(phrase))


async def _further(
    ctx: stages.StageContext, task: intelligence.ResearcherInput, topic: analysis.Topic
) -> tuple[artifacts.Source, ...]:
    """Feeds of the catalogue, at most as many as are wanted, and besides them what platforms give."""
    known = {source.url for source in task.known.records} if task.known else set()
    histories = await ctx.memory.sources()
    wanted = sources.Wanted(task.languages, task.max_sources, task.per_site, _SOURCE_SCORE, task.kinds, histories)
    entries = [entry for entry in task.catalogue.records if entry.url not in known]
    found = await _of_catalogue(ctx, task.topic, topic, entries, wanted) if task.max_sources else ()
    asked = await _of_platforms(ctx, task, topic, histories)
    known |= {source.url for source in found}
    return (*found, *(source for source in asked if source.url not in known))


async def _of_catalogue(
    ctx: stages.StageContext,
    phrase: str,
    topic: analysis.Topic,
    entries: Sequence[artifacts.CatalogueEntry],
    wanted: sources.Wanted,
) -> tuple[artifacts.Source, ...]:
    documents = [sources.document(entry) for entry in entries]
    best: dict[str, artifacts.Source] = {}
    for searched in (topic, *await _neighbours(ctx, phrase, topic)):
        weight = 1.0 if searched is topic else _NEIGHBOUR_SHARE
        because = "" if searched is topic else f"covers {searched.phrase}, a neighbouring topic"
        relevance = [round(weight * score, 4) for score in await ctx.analyst.rank(searched, documents)]
        for source in sources.choose(searched, entries, relevance, wanted, because):
            if source.url not in best or source.score > best[source.url].score:
                best[source.url] = source
    return sources.spread(best.values(), wanted)


async def _of_platforms(
    ctx: stages.StageContext,
    task: intelligence.ResearcherInput,
    topic: analysis.Topic,
    histories: sources.Histories,
) -> list[artifacts.Source]:
    """Searches of platforms and what their directories list, of the kinds that are wanted."""
    if task.platforms is None or not task.ask_platforms:
        return []
    asked = [each for each in task.platforms.records if not task.kinds or each.kind in task.kinds]
    found = {source.url: source for source in await platforms.ask(ctx, asked, topic, task.topic)}
    fitting = [sources.experienced(each, histories) for each in found.values() if each.relevance >= _SOURCE_SCORE]
    return sorted(fitting, key=lambda source: (-source.score, source.url))[: platforms.MOST_SOURCES]


async def _neighbours(ctx: stages.StageContext, phrase: str, topic: analysis.Topic) -> list[analysis.Topic]:
    """The topics that the phrase is made of, then those of its kind that are near in meaning."""
    match = lexicon.find(phrase)
    parts = [] if match.exact else [entry.topic for entry in match.entries]
    kind = lexicon.kind(phrase)
    entries = [entry for entry in lexicon.load() if entry.topic not in (topic.phrase, *parts) and entry.kind == kind]
    scores = await ctx.analyst.rank(topic, [f"{entry.topic}, {', '.join(entry.words)}" for entry in entries])
    ranked = sorted(zip(scores, entries, strict=True), key=lambda pair: (-pair[0], pair[1].topic))
    near = [entry.topic for score, entry in ranked if score >= _RELATED_SCORE]
    return [lexicon.topic(name) for name in (*parts, *near)[:RELATED]]
