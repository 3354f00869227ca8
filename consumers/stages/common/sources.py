"""Choosing feeds from the catalogue: how they are described, judged, spread over sites and explained."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from consumers.stages.common import lexicon
from contracts import analysis, artifacts

PLATFORMS = frozenset(
    {
        "feeds.feedburner.com",
        "feeds2.feedburner.com",
        "youtube.com",
        "medium.com",
        "reddit.com",
        "feeds.megaphone.fm",
        "feeds.simplecast.com",
        "feeds.fireside.fm",
        "blogspot.com",
        "wordpress.com",
        "substack.com",
        "github.io",
        "s3.amazonaws.com",
    }
)
"""Hosts where every feed is a publisher of its own, so that a bound per site would punish strangers for each other."""

_FORUMS = ("reddit.com",)
_OF_RELEVANCE = 0.85
_OF_QUALITY = 0.15


class Wanted(NamedTuple):
    """What to choose by. No languages means any; feeds whose language is unknown always pass."""

    languages: Sequence[str]
    most: int
    per_site: int
    minimum: float


def document(entry: artifacts.CatalogueEntry) -> str:
    """The text by which a feed is ranked: title, topics, and the words of its address."""
    parts = urlsplit(entry.url)
    address = f"{parts.hostname or ''} {parts.path}"
    for mark in "/._-=":
        address = address.replace(mark, " ")
    return f"{entry.title} {' '.join(entry.topics).replace('/', ' ')} {address}"


def host(site: str, url: str) -> str:
    """Whom a feed counts for when feeds are spread over sites: its site, or its own URL on a shared platform."""
    name = (site or urlsplit(url).hostname or "").removeprefix("www.")
    return url if any(name == platform or name.endswith("." + platform) for platform in PLATFORMS) else name


def quality(entry: artifacts.CatalogueEntry) -> tuple[float, tuple[str, ...]]:
    """How far a feed can be trusted from its entry alone, between 0 and 1, and what speaks for or against it."""
    points, notes = 0.4, []
    if entry.url.startswith("https://"):
        points += 0.2
    else:
        notes.append("no https")
    if host(entry.site, entry.url) != entry.url:
        points += 0.2
        notes.append("own site")
    elif any(forum in entry.url for forum in _FORUMS):
        points -= 0.2
        notes.append("a forum")
    else:
        notes.append("on a shared platform")
    points += 0.1 * bool(entry.topics) + 0.1 * bool(entry.language)
    return round(max(0.0, points), 4), tuple(notes)


def choose(
    topic: analysis.Topic,
    entries: Sequence[artifacts.CatalogueEntry],
    relevance: Sequence[float],
    wanted: Wanted,
    because: str = "",
) -> tuple[artifacts.Source, ...]:
    """The best feeds for the topic, the best first; the same for the same input whatever its order."""
    candidates = [
        _source(topic, entry, score, because)
        for entry, score in zip(entries, relevance, strict=True)
        if score >= wanted.minimum and (not wanted.languages or entry.language in {"", *wanted.languages})
    ]
    sites = {entry.url: host(entry.site, entry.url) for entry in entries}
    taken: Counter[str] = Counter()
    chosen: list[artifacts.Source] = []
    for source in sorted(candidates, key=lambda source: (-source.score, source.url)):
        site = sites[source.url]
        if len(chosen) < wanted.most and taken[site] < wanted.per_site:
            taken[site] += 1
            chosen.append(source)
    return tuple(chosen)


def _source(topic: analysis.Topic, entry: artifacts.CatalogueEntry, relevance: float, because: str) -> artifacts.Source:
    worth, notes = quality(entry)
    return artifacts.Source(
        url=entry.url,
        title=entry.title,
        site=entry.site,
        language=entry.language,
        topics=entry.topics,
        relevance=relevance,
        quality=worth,
        score=round(_OF_RELEVANCE * relevance + _OF_QUALITY * worth, 4),
        reason="; ".join((because or _match(topic, entry), *notes)),
    )


def _match(topic: analysis.Topic, entry: artifacts.CatalogueEntry) -> str:
    """In words, what ties the feed to the topic."""
    tags = [tag for tag in entry.topics if _holds(tag.replace("/", " "), (topic.phrase, *topic.names))]
    if tags:
        return f"tagged {tags[0]}"
    if name := _held(entry.title, (topic.phrase, *topic.names)):
        return f"its title names {name}"
    if word := _held(f"{entry.title} {' '.join(entry.topics)}", topic.words):
        return f"its title or tags mention {word}"
    return "close to the topic in meaning"


def _held(text: str, terms: Iterable[str]) -> str | None:
    padded = f" {lexicon.fold(text)} "
    return next((term for term in terms if f" {lexicon.fold(term)} " in padded), None)


def _holds(text: str, terms: Iterable[str]) -> bool:
    return _held(text, terms) is not None
