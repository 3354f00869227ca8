"""Choosing feeds from the catalogue: how they are described, judged, spread over sites and explained."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit

from consumers.stages.common import lexicon, platforms
from contracts import analysis, artifacts, memory

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


_OF_EXPERIENCE = 0.3
"""How much what earlier executions got out of a source counts once there were ``_ENOUGH_RUNS`` of them."""

_ENOUGH_RUNS = 3
_GOOD_YIELD = 2.0
"""Articles that a good source gives to a report."""

Histories = Mapping[str, memory.SourceHistory]


class Wanted(NamedTuple):
    """What to choose by. No languages and no kinds mean any; feeds whose language is unknown always pass."""

    languages: Sequence[str]
    most: int
    per_site: int
    minimum: float
    kinds: Sequence[artifacts.SourceKind] = ()
    histories: Histories = MappingProxyType({})


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
        experienced(_source(topic, entry, score, because), wanted.histories)
        for entry, score in zip(entries, relevance, strict=True)
        if score >= wanted.minimum and (not wanted.languages or entry.language in {"", *wanted.languages})
    ]
    return spread([source for source in candidates if not wanted.kinds or source.kind in wanted.kinds], wanted)


def spread(sources: Iterable[artifacts.Source], wanted: Wanted) -> tuple[artifacts.Source, ...]:
    """The best of them, the best first, each once and no site with more than its number."""
    taken: Counter[str] = Counter()
    chosen: dict[str, artifacts.Source] = {}
    for source in sorted(sources, key=lambda source: (-source.score, source.url)):
        site = host(source.site, source.url)
        if len(chosen) < wanted.most and taken[site] < wanted.per_site and source.url not in chosen:
            taken[site] += 1
            chosen[source.url] = source
    return tuple(chosen.values())


def experienced(source: artifacts.Source, histories: Histories) -> artifacts.Source:
    """The source with what earlier executions of the client got out of it in its score and its reason."""
    history = histories.get(source.url)
    if history is None:
        return source
    weight = _OF_EXPERIENCE * min(1.0, history.runs / _ENOUGH_RUNS)
    score = (1 - weight) * source.score + weight * _worth(history)
    told = f"gave {history.used} articles to {history.runs} earlier reports"
    if history.failures:
        told += f", could not be read for {history.failures}"
    return source.model_copy(update={"score": round(score, 4), "reason": f"{source.reason}; {told}"})


def _worth(history: memory.SourceHistory) -> float:
    """Between 0 and 1: what reports used and what was relevant of it, less where it repeats others or fails."""
    used = min(1.0, history.used / (_GOOD_YIELD * history.runs))
    relevant = history.relevant / max(1, history.articles)
    repeated = history.duplicates / max(1, history.relevant)
    return (0.5 * used + 0.5 * relevant) * (1 - 0.5 * repeated) * (1 - history.failures / history.runs)


def _source(topic: analysis.Topic, entry: artifacts.CatalogueEntry, relevance: float, because: str) -> artifacts.Source:
    worth, notes = quality(entry)
    kind, platform = platforms.place(entry.url, entry.topics)
    return artifacts.Source(
        url=entry.url,
        title=entry.title,
        site=entry.site,
        language=entry.language,
        kind=kind,
        platform=platform,
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
