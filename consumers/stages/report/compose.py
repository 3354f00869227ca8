"""Composes the report: themes of stories, what is new, a summary, trends, and the evidence behind all of it."""

import datetime
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from consumers.stages.report import changes, groups, view
from contracts import analysis, artifacts, reports

FEWEST_ARTICLES = 4
FEWEST_CONVINCING = 3
CONVINCING = 0.6
"""A report needs so many articles, and so many of at least this relevance; with less there is nothing to report."""

Numbers = Mapping[str, int]
"""The number of each article in the evidence, by its id."""


class Material(NamedTuple):
    """All that a report is made of: its articles, their themes, and each story as it is told, by its number."""

    analysed: artifacts.AnalysedArticles
    divided: Sequence[groups.Group]
    tellings: Mapping[int, analysis.Telling]
    brief: Sequence[analysis.Told]
    made: Sequence[analysis.Made]


def is_enough(records: Sequence[artifacts.AnalysedArticle]) -> bool:
    """Whether there is material for a report, and not only for the statement that there is none."""
    convincing = sum(record.scores.relevance >= CONVINCING for record in records)
    return len(records) >= FEWEST_ARTICLES and convincing >= FEWEST_CONVINCING


def evidence(story: groups.Story) -> tuple[analysis.Evidence, ...]:
    """The articles of a story as what it may be told from, the leading one first."""
    return tuple(
        analysis.Evidence(
            id=record.article.id,
            title=record.article.title,
            text=record.article.text,
            source=record.article.source_title.strip(" -|"),
            site=record.article.site,
            language=record.article.language,
            published=record.article.published,
        )
        for record in story
    )


def report(material: Material, topic: str, title: str, created: datetime.datetime) -> reports.Report:
    """The report on this material; every citation number resolves to an article of it."""
    analysed = material.analysed
    ordered = [record for group in material.divided for story in group for record in story]
    numbers = {record.article.id: number for number, record in enumerate(ordered, start=1)}
    themes = _themes(material, numbers, topic)
    stories = [story for theme in themes for story in theme.stories]
    enough = is_enough(analysed.records)
    return reports.Report(
        title=title or _headline(topic) + ("" if enough else ": not enough material"),
        topic=topic,
        about=_about(analysed, len(stories)),
        created=created,
        made=tuple(material.made),
        executive_summary=tuple(_statement(told, numbers) for told in material.brief),
        since=changes.since(stories, analysed.past),
        themes=themes,
        trends=changes.trends(analysed.records, analysed.past),
        evidence=tuple(_citation(record, numbers[record.article.id], analysed) for record in ordered),
        sources=analysed.sources,
        left_out=analysed.left_out,
        failures=analysed.failures,
        method=_method(analysed),
        enough=enough,
    )


def _headline(topic: str) -> str:
    return topic[:1].upper() + topic[1:]


def _themes(material: Material, numbers: Numbers, topic: str) -> tuple[reports.Theme, ...]:
    texts = [[_told_text(material.tellings[story[0].story]) for story in group] for group in material.divided]
    themes = []
    for index, group in enumerate(material.divided):
        words = groups.words(texts, index, topic)
        stories = tuple(_story(story, material, numbers) for story in group)
        themes.append(reports.Theme(title=groups.title(words, group), words=words, stories=stories))
    return tuple(themes)


def _told_text(telling: analysis.Telling) -> str:
    return " ".join((telling.title, *(told.text for told in telling.happened)))


def _story(story: groups.Story, material: Material, numbers: Numbers) -> reports.Story:
    lead = story[0]
    told = material.analysed.stories[lead.story]
    telling = material.tellings[lead.story]
    return reports.Story(
        id=told.id,
        title=telling.title,
        news=changes.news(told, [record.article for record in story], material.analysed.past),
        happened=tuple(_statement(sentence, numbers) for sentence in telling.happened),
        matters=None if telling.matters is None else _statement(telling.matters, numbers),
        differences=tuple(_statement(sentence, numbers) for sentence in telling.differences),
        category=lead.category,
        relevance=lead.scores.relevance,
        citation=numbers[lead.article.id],
        further=tuple(numbers[record.article.id] for record in story[1:]),
        also=tuple(sorted({other for record in story for other in record.also})),
        sites=told.sites,
    )


def _statement(told: analysis.Told, numbers: Numbers) -> reports.Statement:
    return reports.Statement(text=told.text, citations=tuple(numbers[each] for each in told.evidence))


def _citation(record: artifacts.AnalysedArticle, number: int, analysed: artifacts.AnalysedArticles) -> reports.Citation:
    article = record.article
    return reports.Citation(
        number=number,
        article_id=article.id,
        title=article.title or article.url,
        url=article.url,
        source_title=article.source_title.strip(" -|"),
        site=article.site,
        published=article.published,
        language=article.language,
        revised=changes.revised(article, analysed.past),
    )


def _about(analysed: artifacts.AnalysedArticles, stories: int) -> str:
    feeds = view.several(len(analysed.sources), "feed")
    every = len(analysed.records) + len(analysed.left_out)
    if not analysed.records:
        return f"None of the {view.several(every, 'article')} that {feeds} gave is about it."
    sites = len({record.article.site for record in analysed.records})
    return (
        f"{view.several(len(analysed.records), 'article')} of {view.several(sites, 'site')} in "
        f"{view.several(stories, 'story')}, chosen from {every:,} that {feeds} gave."
    )


def _method(analysed: artifacts.AnalysedArticles) -> str:
    limits = ", ".join(f"one {name} {number}" for name, number in analysed.limits.items())
    return (
        "Each article counts once, however many feeds carry it. Relevance is judged from the words and the meaning of "
        "an article against the topic and against other subjects. Near-duplicates are articles that share most of "
        "their three-word runs; the earliest is kept. Articles tell one story when their titles and first sentences "
        "say the same within days of each other; a story keeps its identity from report to report. Places go by "
        "relevance (45 %), quality (25 %), freshness (20 %) and the number of independent sites that tell the story "
        f"(10 %), and of all places {limits} at most."
    )
