"""Judges articles by topic, quality and category, summarises them and finds repeats."""

import collections
import datetime
import math
from typing import NamedTuple

from consumers.stages.common import lexicon, worth
from contracts import artifacts, intelligence, stages

SPEC = intelligence.CONTENT_CLASSIFIER

SUMMARY_SENTENCES = 3
KEY_POINTS = 3
SITE_SHARE = 0.2
"""Of the articles that may be chosen, the share of one site, unless there are too few sites to fill the rest."""

STORY_DAYS = datetime.timedelta(days=10)
"""Articles further apart than this tell different stories, however alike they sound."""

_FAR_FUTURE = datetime.datetime.max.replace(tzinfo=datetime.UTC)


class Judged(NamedTuple):
    """An article with its scores."""

    article: artifacts.Article
    relevance: float
    relevant: bool
    quality: float

    @property
    def rank(self) -> tuple[float, float, str]:
        """What sorts articles, the best first; the id breaks ties the same way everywhere."""
        published = self.article.published.timestamp() if self.article.published else 0.0
        return (-round(0.6 * self.relevance + 0.4 * self.quality, 4), -published, self.article.id)


class Sifted(NamedTuple):
    """The articles that stay, and those that are left out."""

    kept: list[Judged]
    left_out: list[artifacts.LeftOut]


async def run(ctx: stages.StageContext, task: intelligence.ClassifierInput) -> artifacts.AnalysedArticles:
    """The articles worth reporting on, the best first; the same whatever the order of the feeds and their articles."""
    articles, left_out = _admissible(task, ctx.now())
    await ctx.progress(0.1, f"{len(articles)} articles")
    judged = await _judged(ctx, task, articles)
    await ctx.progress(0.6, "relevance judged")
    sifted = _worthy(judged)
    left_out += sifted.left_out
    chosen, also, repeated = await _without_repeats(ctx, sifted.kept)
    left_out += repeated
    chosen = sorted(chosen, key=lambda item: item.rank)
    limited = _limited(chosen, task.max_articles)
    left_out += limited.left_out
    await ctx.progress(0.8, f"{len(limited.kept)} articles chosen")
    records = await _analysed(ctx, limited.kept, also)
    await ctx.progress(1.0, "done")
    return artifacts.AnalysedArticles(
        topic=task.topic,
        engine=ctx.analyst.name,
        records=records,
        left_out=tuple(sorted(left_out, key=lambda item: (item.reason, item.title, item.id))),
        sources=_sources(task, records),
        failures=tuple(sorted(task.feeds.failures, key=lambda failure: failure.shard)),
    )


def _admissible(
    task: intelligence.ClassifierInput, now: datetime.datetime
) -> tuple[list[artifacts.Article], list[artifacts.LeftOut]]:
    """Each article once, by id and by URL, sorted by id; those too old or in another language are left out."""
    found: dict[str, artifacts.Article] = {}
    every = [article for feed in task.feeds.outputs for article in feed.records]
    for article in sorted(every, key=lambda article: (article.id, article.source_url)):
        found.setdefault(article.id, article)
    by_url: dict[str, artifacts.Article] = {}
    for article in found.values():
        by_url.setdefault(article.url or article.id, article)
    kept: list[artifacts.Article] = []
    left_out: list[artifacts.LeftOut] = []
    for article in by_url.values():
        if (
            task.max_age_days
            and article.published
            and now - article.published > datetime.timedelta(days=task.max_age_days)
        ):
            left_out.append(_left_out(article, "old", f"published {article.published.date()}"))
        elif task.languages and article.language and article.language not in task.languages:
            left_out.append(_left_out(article, "language", f"written in {article.language}"))
        else:
            kept.append(article)
    return kept, left_out


def _text(article: artifacts.Article) -> str:
    return f"{article.title}\n{article.text}"


async def _judged(
    ctx: stages.StageContext, task: intelligence.ClassifierInput, articles: list[artifacts.Article]
) -> list[Judged]:
    topic = lexicon.topic(task.topic, further=task.plan.words if task.plan else ())
    assessments = await ctx.analyst.assess(topic, [_text(article) for article in articles])
    newest = worth.newest(articles, ctx.now())
    return [
        Judged(article, assessment.relevance, assessment.relevant, worth.quality(article, newest))
        for article, assessment in zip(articles, assessments, strict=True)
    ]


def _worthy(judged: list[Judged]) -> Sifted:
    kept: list[Judged] = []
    left_out: list[artifacts.LeftOut] = []
    for item in judged:
        if not item.relevant:
            other = ", but rather about another subject" if item.relevance >= 0.5 else ""
            left_out.append(_left_out(item.article, "irrelevant", f"relevance {item.relevance:.2f}{other}"))
        elif item.quality < worth.LEAST:
            left_out.append(_left_out(item.article, "low_quality", f"quality {item.quality:.2f}"))
        else:
            kept.append(item)
    return Sifted(kept, left_out)


async def _without_repeats(
    ctx: stages.StageContext, judged: list[Judged]
) -> tuple[list[Judged], dict[str, tuple[str, ...]], list[artifacts.LeftOut]]:
    """The earliest of each group of repeats, the ids of the others under its id, and the others as left out."""
    ordered = sorted(judged, key=lambda item: (item.article.published or _FAR_FUTURE, -item.quality, item.article.id))
    originals = _same_title(ordered, await ctx.analyst.duplicates([_text(item.article) for item in ordered]))
    also: dict[str, list[str]] = collections.defaultdict(list)
    kept: list[Judged] = []
    left_out: list[artifacts.LeftOut] = []
    for index, item in enumerate(ordered):
        original = ordered[originals[index]].article
        if original.id == item.article.id:
            kept.append(item)
        else:
            also[original.id].append(item.article.id)
            left_out.append(
                _left_out(item.article, "duplicate", f"repeats “{original.title}” ({original.source_title})")
            )
    return kept, {key: tuple(sorted(ids)) for key, ids in also.items()}, left_out


def _same_title(ordered: list[Judged], originals: list[int]) -> list[int]:
    """Also one article where a site gives the same longer title twice, with different teasers."""
    first: dict[tuple[str, str], int] = {}
    result = list(originals)
    for index, item in enumerate(ordered):
        title = " ".join(item.article.title.casefold().split())
        if result[index] == index and len(title.split()) >= 4:
            result[index] = first.setdefault((item.article.site, title), index)
    return [result[original] for original in result]


def _limited(chosen: list[Judged], most: int) -> Sifted:
    sites = len({item.article.site for item in chosen})
    quota = max(math.ceil(most * SITE_SHARE), math.ceil(most / max(1, sites)))
    taken: collections.Counter[str] = collections.Counter()
    kept: list[Judged] = []
    left_out: list[artifacts.LeftOut] = []
    for item in chosen:
        if len(kept) >= most:
            left_out.append(_left_out(item.article, "over_limit", f"the best {most} were chosen"))
        elif taken[item.article.site] >= quota:
            left_out.append(_left_out(item.article, "over_limit", f"{item.article.site} already has {quota} articles"))
        else:
            taken[item.article.site] += 1
            kept.append(item)
    return Sifted(kept, left_out)


async def _analysed(
    ctx: stages.StageContext, chosen: list[Judged], also: dict[str, tuple[str, ...]]
) -> tuple[artifacts.AnalysedArticle, ...]:
    texts = [_text(item.article) for item in chosen]
    bodies = [item.article.text or item.article.title for item in chosen]
    categories = await ctx.analyst.categorise(texts)
    summaries = await ctx.analyst.summarise(bodies, SUMMARY_SENTENCES)
    points = await ctx.analyst.key_points(bodies, KEY_POINTS)
    stories = _within_days(chosen, await ctx.analyst.stories(texts))
    themes = _aligned(stories, await ctx.analyst.themes(texts))
    return tuple(
        artifacts.AnalysedArticle(
            article=item.article,
            relevance=item.relevance,
            quality=item.quality,
            category=categories[index],
            summary=summaries[index],
            key_points=tuple(point for point in points[index] if point not in summaries[index]),
            theme=themes[index],
            story=stories[index],
            also=also.get(item.article.id, ()),
        )
        for index, item in enumerate(chosen)
    )


def _within_days(chosen: list[Judged], stories: list[int]) -> list[int]:
    """Stories split where an article lies too far in time from the best one that tells it; numbered by rank."""
    leads: dict[tuple[int, int], datetime.datetime | None] = {}
    numbers: dict[tuple[int, int], int] = {}
    result = []
    for item, story in zip(chosen, stories, strict=True):
        part = 0
        while (story, part) in leads and _apart(leads[story, part], item.article.published):
            part += 1
        leads.setdefault((story, part), item.article.published)
        result.append(numbers.setdefault((story, part), len(numbers)))
    return result


def _apart(one: datetime.datetime | None, other: datetime.datetime | None) -> bool:
    return one is not None and other is not None and abs(one - other) > STORY_DAYS


def _aligned(stories: list[int], themes: list[int]) -> list[int]:
    """Themes such that all articles of a story are in the theme of its best one."""
    lead: dict[int, int] = {}
    return [lead.setdefault(story, theme) for story, theme in zip(stories, themes, strict=True)]


def _left_out(article: artifacts.Article, reason: artifacts.LeftOutReason, detail: str) -> artifacts.LeftOut:
    return artifacts.LeftOut(
        id=article.id,
        title=article.title,
        url=article.url,
        source_title=article.source_title,
        reason=reason,
        detail=detail,
    )


def _sources(
    task: intelligence.ClassifierInput, records: tuple[artifacts.AnalysedArticle, ...]
) -> tuple[artifacts.ArticleSource, ...]:
    used = collections.Counter(record.article.source_url for record in records)
    found = {
        feed.source_url: artifacts.ArticleSource(
            url=feed.source_url,
            title=feed.source_title,
            language=feed.language,
            format=feed.format,
            entries=feed.entries,
            articles=len(feed.records),
            used=used[feed.source_url],
        )
        for feed in sorted(task.feeds.outputs, key=lambda feed: (feed.source_url, feed.entries))
    }
    return tuple(sorted(found.values(), key=lambda source: (-source.used, source.title, source.url)))
