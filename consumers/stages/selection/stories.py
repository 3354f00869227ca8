"""Which story each article tells: one that the client was told of before, or one that begins with it."""

import datetime
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from consumers.stages.selection.judged import Judged, sites
from contracts import artifacts
from contracts.analysis import Analyst, StoryTrace
from contracts.memory import Recollection

APART = datetime.timedelta(days=4)
"""An article that appears so long after the last one of a story tells another, however alike they sound."""

RESTING = datetime.timedelta(days=10)
"""A story that an earlier report told may rest for so long until it goes on: reports come by the week."""


class _Open(NamedTuple):
    """A story that articles may join, with the moment that they must not lie too far from."""

    id: str
    trace: StoryTrace
    began: datetime.datetime
    latest: datetime.datetime
    known: bool


class Grouped(NamedTuple):
    """The stories that are told, and for each article the index of its own."""

    stories: tuple[artifacts.ToldStory, ...]
    numbers: tuple[int, ...]


async def group(
    analyst: Analyst, ordered: Sequence[Judged], recollection: Recollection, now: datetime.datetime
) -> Grouped:
    """Stories of articles that are given in the order of their arrival.

    An article that an earlier report told stays in its story. Any other joins the story that it tells best, or begins
    one, whose id is made from its own so that it is the same in every attempt.
    """
    known = {each.id: _Open(each.id, each.trace, each.began, each.latest, True) for each in recollection.stories}
    told = {article.id: article.story for report in reversed(recollection.reports) for article in report.articles}
    places = {
        item.article.id: known[told[item.article.id]] for item in ordered if told.get(item.article.id, "") in known
    }
    fresh = [item for item in ordered if item.article.id not in places]
    # Without a date nothing tells a guide of any year from the news of a day, so such an article stays by itself.
    for item in (item for item in fresh if item.article.published is None):
        (places[item.article.id],) = await _follow(analyst, [item], (), now)
    dated = [item for item in fresh if item.article.published is not None]
    apart = _place(dated, await _follow(analyst, dated, list(known.values()), now), places)
    for part in apart:
        story = (await _follow(analyst, part, (), now))[0]
        places.update({item.article.id: story for item in part})
    # A known story that new articles have joined is brought up to date for those of it that were told before, too.
    grown = {story.id: story for story in places.values() if story is not known.get(story.id)}
    return _numbered(ordered, {article: grown.get(story.id, story) for article, story in places.items()})


def _place(items: Sequence[Judged], joined: Sequence[_Open], places: dict[str, _Open]) -> list[list[Judged]]:
    """Gives articles their places; returns in parts what comes too long after the story that it sounds like.

    A part is a row of articles of one story, none of them long after the one before.
    """
    latest: dict[str, datetime.datetime] = {}
    parts: dict[str, list[list[Judged]]] = {}
    for item, story in zip(items, joined, strict=True):
        moment = item.article.published or story.latest
        last, most = latest.get(story.id, story.latest), APART if story.id in latest else RESTING
        latest[story.id] = max(last, moment)
        if abs(moment - last) > most:
            parts.setdefault(story.id, []).append([item])
        elif story.id in parts:
            parts[story.id][-1].append(item)
        else:
            places[item.article.id] = story
    return [part for found in parts.values() for part in found]


async def _follow(
    analyst: Analyst, items: Sequence[Judged], known: Sequence[_Open], now: datetime.datetime
) -> list[_Open]:
    """The story of each item; what is known and what is new are numbered as the analyst does."""
    found = await analyst.stories([item.text for item in items], [story.trace for story in known])
    first: dict[int, Judged] = {}
    for item, number in zip(items, found.numbers, strict=True):
        first.setdefault(number, item)
    stories = {}
    for number, item in first.items():
        trace = found.traces[number]
        if number < len(known):
            stories[number] = known[number]._replace(trace=trace)
        else:
            moment = item.article.published or now
            stories[number] = _Open(_identity(item.article), trace, moment, moment, False)
    return [stories[number] for number in found.numbers]


def _identity(article: artifacts.Article) -> str:
    return hashlib.sha256(f"story {article.id}".encode()).hexdigest()[:16]


def _numbered(ordered: Sequence[Judged], places: dict[str, _Open]) -> Grouped:
    tellers: dict[str, list[artifacts.Article]] = {}
    for item in ordered:
        tellers.setdefault(places[item.article.id].id, []).append(item.article)
    numbers = {identity: number for number, identity in enumerate(tellers)}
    stories = {story.id: story for story in places.values()}
    return Grouped(
        stories=tuple(
            artifacts.ToldStory(
                id=identity,
                trace=stories[identity].trace,
                began=stories[identity].began,
                known=stories[identity].known,
                sites=sites(articles),
            )
            for identity, articles in tellers.items()
        ),
        numbers=tuple(numbers[places[item.article.id].id] for item in ordered),
    )
