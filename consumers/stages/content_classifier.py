"""Judges articles by topic and worth, finds repeats and stories, and gives the best of them a place."""

import collections
from collections.abc import Sequence

from consumers.stages.common import lexicon, worth
from consumers.stages.selection import admission, places, repeats, stories
from consumers.stages.selection.judged import Judged, Sifted, left_out
from contracts import artifacts, intelligence, stages

SPEC = intelligence.CONTENT_CLASSIFIER


async def run(ctx: stages.StageContext, task: intelligence.ClassifierInput) -> artifacts.AnalysedArticles:
    """The articles worth reporting on, the best first; the same whatever the order of the feeds and their articles."""
    articles, refused = admission.admissible(task, ctx.now())
    await ctx.progress(0.1, f"{len(articles)} articles")
    sifted = _worthy(await _judged(ctx, task, articles))
    await ctx.progress(0.5, f"{len(sifted.kept)} are about the topic")
    ordered = sorted(sifted.kept, key=lambda item: item.arrival)
    unrepeated = repeats.without(ordered, await ctx.analyst.duplicates([item.text for item in ordered]))
    recollection = await ctx.memory.recall(lexicon.subject(task.topic))
    grouped = await stories.group(ctx.analyst, unrepeated.kept, recollection, ctx.now())
    await ctx.progress(0.7, f"{len(grouped.stories)} stories")
    chosen = places.choose(_ranked(unrepeated.kept, grouped), task)
    await ctx.progress(0.8, f"{len(chosen.kept)} articles chosen")
    told = list(dict.fromkeys(each.story for each in chosen.kept))
    records = await _analysed(ctx, chosen.kept, unrepeated, [grouped.stories[number] for number in told], told)
    refused += [*sifted.left_out, *unrepeated.left_out, *chosen.left_out]
    return artifacts.AnalysedArticles(
        topic=task.topic,
        subject=lexicon.subject(task.topic),
        made=(*((task.plan.made,) if task.plan and task.plan.made else ()), ctx.analyst.made()),
        records=records,
        stories=tuple(grouped.stories[number] for number in told),
        past=recollection.reports,
        limits=chosen.limits,
        left_out=tuple(sorted(refused, key=lambda item: (item.reason, item.title, item.id))),
        sources=_sources(task, sifted.kept, records, unrepeated.left_out),
        failures=tuple(sorted(task.feeds.failures, key=lambda failure: failure.shard)),
    )


async def _judged(
    ctx: stages.StageContext, task: intelligence.ClassifierInput, articles: Sequence[artifacts.Article]
) -> list[Judged]:
    topic = lexicon.topic(task.topic, further=task.plan.words if task.plan else ())
    assessments = await ctx.analyst.assess(topic, [f"{article.title}\n{article.text}" for article in articles])
    newest = worth.newest(articles, ctx.now())
    return [
        Judged(
            article,
            assessment.relevance,
            assessment.relevant,
            worth.quality(article),
            worth.freshness(article, newest),
        )
        for article, assessment in zip(articles, assessments, strict=True)
    ]


def _worthy(judged: Sequence[Judged]) -> Sifted:
    kept: list[Judged] = []
    refused: list[artifacts.LeftOut] = []
    for item in judged:
        if not item.relevant:
            other = ", but rather about another subject" if item.relevance >= 0.5 else ""
            refused.append(left_out(item.article, "irrelevant", f"relevance {item.relevance:.2f}{other}"))
        elif item.quality < worth.LEAST:
            refused.append(left_out(item.article, "low_quality", f"quality {item.quality:.2f}"))
        else:
            kept.append(item)
    return Sifted(kept, refused)


def _ranked(items: Sequence[Judged], grouped: stories.Grouped) -> list[places.Ranked]:
    told = [grouped.stories[number] for number in grouped.numbers]
    return [
        places.Ranked(item, number, item.scores(story.sites))
        for item, number, story in zip(items, grouped.numbers, told, strict=True)
    ]


async def _analysed(
    ctx: stages.StageContext,
    chosen: Sequence[places.Ranked],
    unrepeated: repeats.Unrepeated,
    told: Sequence[artifacts.ToldStory],
    numbers: Sequence[int],
) -> tuple[artifacts.AnalysedArticle, ...]:
    """The chosen articles; ``told`` are their stories, which the selection knew by these numbers."""
    place = {number: index for index, number in enumerate(numbers)}
    texts = [each.item.text for each in chosen]
    categories = await ctx.analyst.categorise(texts)
    themes = _aligned([each.story for each in chosen], await ctx.analyst.themes(texts))
    return tuple(
        artifacts.AnalysedArticle(
            article=each.item.article,
            scores=each.scores,
            category=categories[index],
            theme=themes[index],
            story=place[each.story],
            also=unrepeated.also.get(each.item.article.id, ()),
            why=_why(each, told[place[each.story]].sites, index + 1),
        )
        for index, each in enumerate(chosen)
    )


def _aligned(told: Sequence[int], themes: Sequence[int]) -> list[int]:
    """Themes such that all articles of a story are in the theme of its best one."""
    lead: dict[int, int] = {}
    return [lead.setdefault(story, theme) for story, theme in zip(told, themes, strict=True)]


def _why(each: places.Ranked, sites: int, rank: int) -> str:
    scores = each.scores
    told = "told by this site alone" if sites == 1 else f"its story is told by {sites} sites"
    return (
        f"number {rank} by a score of {scores.total:.2f}: relevance {scores.relevance:.2f}, "
        f"quality {scores.quality:.2f}, freshness {scores.freshness:.2f}; {told}"
    )


def _sources(
    task: intelligence.ClassifierInput,
    relevant: Sequence[Judged],
    records: Sequence[artifacts.AnalysedArticle],
    copies: Sequence[artifacts.LeftOut],
) -> tuple[artifacts.ArticleSource, ...]:
    copied = {item.id for item in copies}
    about = collections.Counter(item.article.source_url for item in relevant)
    repeated = collections.Counter(item.article.source_url for item in relevant if item.article.id in copied)
    used = collections.Counter(record.article.source_url for record in records)
    found = {
        feed.source_url: artifacts.ArticleSource(
            url=feed.source_url,
            title=feed.source_title,
            language=feed.language,
            format=feed.format,
            entries=feed.entries,
            articles=len(feed.records),
            relevant=about[feed.source_url],
            duplicates=repeated[feed.source_url],
            used=used[feed.source_url],
        )
        for feed in sorted(task.feeds.outputs, key=lambda feed: (feed.source_url, feed.entries))
    }
    return tuple(sorted(found.values(), key=lambda source: (-source.used, source.title, source.url)))
