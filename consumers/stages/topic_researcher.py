"""Finds angles and queries for a topic and, with them, further feeds."""

from consumers.stages.common import angles, lexicon, sources
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
    topic = lexicon.topic(task.topic)
    found = angles.plan(task.topic, lexicon.kind(task.topic), topic.words)
    await ctx.progress(0.2, f"{len(found)} angles")
    records = await _further(ctx, task, topic) if task.max_sources else ()
    await ctx.progress(1.0, f"{len(records)} further feeds")
    return artifacts.ResearchPlan(topic=task.topic, angles=found, words=topic.words, records=records)


async def _further(
    ctx: stages.StageContext, task: intelligence.ResearcherInput, topic: analysis.Topic
) -> tuple[artifacts.Source, ...]:
    known = {source.url for source in task.known.records} if task.known else set()
    entries = [entry for entry in task.catalogue.records if entry.url not in known]
    documents = [sources.document(entry) for entry in entries]
    wanted = sources.Wanted(task.languages, task.max_sources, task.per_site, _SOURCE_SCORE)
    best: dict[str, artifacts.Source] = {}
    for searched in (topic, *await _neighbours(ctx, task.topic, topic)):
        weight = 1.0 if searched is topic else _NEIGHBOUR_SHARE
        because = "" if searched is topic else f"covers {searched.phrase}, a neighbouring topic"
        relevance = [round(weight * score, 4) for score in await ctx.analyst.rank(searched, documents)]
        for source in sources.choose(searched, entries, relevance, wanted, because):
            if source.url not in best or source.score > best[source.url].score:
                best[source.url] = source
    chosen = sorted(best.values(), key=lambda source: (-source.score, source.url))
    return _spread(tuple(chosen), task)


def _spread(found: tuple[artifacts.Source, ...], task: intelligence.ResearcherInput) -> tuple[artifacts.Source, ...]:
    taken: dict[str, int] = {}
    chosen = []
    for source in found:
        site = sources.host(source.site, source.url)
        taken[site] = taken.get(site, 0) + 1
        if taken[site] <= task.per_site:
            chosen.append(source)
    return tuple(chosen[: task.max_sources])


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
