"""What kind of source a feed is, by where it is published, and the platforms that can be asked for a topic."""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from consumers.stages.common import lexicon
from contracts import analysis, artifacts, errors, stages

MOST_SOURCES = 8
"""Feeds that platforms add to a report's sources at most: anybody may publish there."""

MOST_LISTED = 10
"""Feeds of one directory's answer that are looked at; directories put the best first."""


class _Place(NamedTuple):
    """A host where many publish, with the name that people know it by."""

    host: str
    name: str
    kind: artifacts.SourceKind


_PLACES = (
    _Place("youtube.com", "YouTube", "youtube"),
    _Place("feeds.megaphone.fm", "Megaphone", "podcast"),
    _Place("feeds.simplecast.com", "Simplecast", "podcast"),
    _Place("feeds.fireside.fm", "Fireside", "podcast"),
    _Place("libsyn.com", "Libsyn", "podcast"),
    _Place("anchor.fm", "Spotify for Podcasters", "podcast"),
    _Place("buzzsprout.com", "Buzzsprout", "podcast"),
    _Place("transistor.fm", "Transistor", "podcast"),
    _Place("acast.com", "Acast", "podcast"),
    _Place("art19.com", "ART19", "podcast"),
    _Place("podbean.com", "Podbean", "podcast"),
    _Place("soundcloud.com", "SoundCloud", "podcast"),
    _Place("feeds.twit.tv", "TWiT", "podcast"),
    _Place("relay.fm", "Relay", "podcast"),
    _Place("podcasts.files.bbci.co.uk", "BBC Sounds", "podcast"),
    _Place("arxiv.org", "arXiv", "academic"),
    _Place("biorxiv.org", "bioRxiv", "academic"),
    _Place("medrxiv.org", "medRxiv", "academic"),
    _Place("nature.com", "Nature", "academic"),
    _Place("science.org", "Science", "academic"),
    _Place("sciencedirect.com", "ScienceDirect", "academic"),
    _Place("plos.org", "PLOS", "academic"),
    _Place("acm.org", "ACM", "academic"),
    _Place("ieee.org", "IEEE", "academic"),
    _Place("pubmed.ncbi.nlm.nih.gov", "PubMed", "academic"),
    _Place("reddit.com", "Reddit", "social"),
    _Place("mastodon.social", "Mastodon", "social"),
    _Place("news.ycombinator.com", "Hacker News", "social"),
    _Place("lobste.rs", "Lobsters", "social"),
    _Place("stackoverflow.com", "Stack Overflow", "social"),
    _Place("stackexchange.com", "Stack Exchange", "social"),
    _Place("bsky.app", "Bluesky", "social"),
    _Place("medium.com", "Medium", "rss"),
    _Place("substack.com", "Substack", "rss"),
)
_NO_TAG = re.compile(r"[^\w]+")


def place(url: str, topics: Sequence[str] = ()) -> tuple[artifacts.SourceKind, str]:
    """The kind of a feed and the platform that it is published on, empty for a site of its own."""
    host = _host(url).removeprefix("www.")
    for known in _PLACES:
        if host == known.host or host.endswith("." + known.host):
            return known.kind, known.name
    spoken = any("podcast" in topic.casefold() for topic in topics)
    return ("podcast" if spoken else "rss"), ""


async def ask(
    ctx: stages.StageContext, platforms: Sequence[artifacts.Platform], topic: analysis.Topic, phrase: str
) -> list[artifacts.Source]:
    """Feeds on the topic from platforms that suit it; one whose directory does not answer gives none."""
    kind = lexicon.kind(phrase)
    found: list[artifacts.Source] = []
    for platform in platforms:
        if platform.suits and kind not in platform.suits:
            continue
        tag = quote(_NO_TAG.sub("", topic.phrase.casefold()), safe="")
        url = platform.search.replace("{query}", quote(topic.phrase, safe="")).replace("{tag}", tag)
        if platform.directory is None:
            found.append(_source(platform, url, f"{platform.name}: {topic.phrase}", "", 1.0))
            continue
        try:
            found += await _listed(ctx, platform, platform.directory, url, topic)
        except errors.StageError as error:
            ctx.log.warning("a directory of feeds did not answer", platform=platform.name, error=str(error)[:200])
    return found


async def _listed(
    ctx: stages.StageContext,
    platform: artifacts.Platform,
    directory: artifacts.Directory,
    url: str,
    topic: analysis.Topic,
) -> list[artifacts.Source]:
    page = await ctx.fetch(url, {"Accept": "application/json"})
    entries = _entries(page.body, directory)
    relevance = await ctx.analyst.rank(topic, [entry.title for entry in entries])
    return [
        _source(platform, entry.url, entry.title, entry.site, score)
        for entry, score in zip(entries, relevance, strict=True)
    ]


class _Entry(NamedTuple):
    url: str
    title: str
    site: str


def _entries(body: bytes, directory: artifacts.Directory) -> list[_Entry]:
    """What a directory lists, as far as it can be read; raises PermanentError for what is no JSON of that form."""
    try:
        content: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise errors.PermanentError(f"the directory's answer is no JSON: {error}") from error
    items = content.get(directory.items) if isinstance(content, dict) else None
    if not isinstance(items, list):
        raise errors.PermanentError(f"the directory's answer has no list '{directory.items}'")
    found = [_entry(item, directory) for item in items[:MOST_LISTED] if isinstance(item, dict)]
    return [entry for entry in found if _host(entry.url) and entry.title]


def _entry(item: dict[str, object], directory: artifacts.Directory) -> _Entry:
    values = (item.get(field) for field in (directory.url, directory.title, directory.site))
    return _Entry(*(value[:2000] if isinstance(value, str) else "" for value in values))


def _host(address: str) -> str:
    """The host of a web address; empty for whatever else a directory may say."""
    try:
        parts = urlsplit(address)
        return (parts.hostname or "") if parts.scheme in ("http", "https") else ""
    except ValueError:
        return ""


def _source(platform: artifacts.Platform, url: str, title: str, site: str, relevance: float) -> artifacts.Source:
    return artifacts.Source(
        url=url,
        title=title,
        site=_host(site),
        kind=platform.kind,
        platform=platform.name,
        relevance=relevance,
        quality=platform.quality,
        score=round(0.85 * relevance * platform.quality + 0.15 * platform.quality, 4),
        reason=f"{'listed by' if platform.directory else 'a search of'} {platform.name}; {platform.note}",
    )
