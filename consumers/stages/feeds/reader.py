"""From the body of a fetched page to a set of articles, or to a reason why it is no feed."""

import codecs
import dataclasses
import datetime
import re
import zlib

import pydantic

from consumers.stages.feeds import articles, document, jsonfeed, language, text, urls, xmlfeed
from contracts import artifacts, errors, model

UNPACKED_LIMIT = 15 * 1024 * 1024
GZIP = b"\x1f\x8b"
TITLE_LENGTH = 300
URL_LENGTH = 2048
LOOKED_AT = 4
"""How many entries are looked at for each article that is wanted, since some may be empty or repeat others."""

_HTML = re.compile(r"<!doctype\s+html|<html[\s>]", re.IGNORECASE)
_LINK = re.compile(r"<link\s[^<>]{0,1000}>", re.IGNORECASE)
_FEED_TYPE = re.compile(r"type\s*=\s*[\"']?application/(?:rss\+xml|atom\+xml|feed\+json)", re.IGNORECASE)
_HREF = re.compile(r"href\s*=\s*[\"']?([^\"'\s>]+)", re.IGNORECASE)


class Request(model.Model):
    """A fetched page to be read as the feed of ``source``.

    ``url`` is where it came from after redirects, ``charset`` what the server said, ``now`` the time of the fetch.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    source: artifacts.Source
    url: str
    body: bytes
    charset: str = ""
    max_articles: int
    now: datetime.datetime


def read(request: Request) -> artifacts.ArticleSet:
    """The articles of a feed; raises PermanentError with the feed's URL if the page is none or too broken to read.

    A broken feed whose entries can be read gives them, with a note in ``problems``.
    """
    try:
        return _article_set(request, _feed(request))
    except (errors.StageError, MemoryError, OSError):
        raise
    except Exception as error:  # parsers fail in many ways on hostile input, and each is the feed's fault
        raise _broken(request, f"the feed cannot be read ({type(error).__name__}: {error})"[:500]) from error


def _broken(request: Request, explanation: str) -> errors.PermanentError:
    return errors.PermanentError(explanation, {"url": request.source.url[:URL_LENGTH]})


def _feed(request: Request) -> document.Feed:
    body = _unpacked(request)
    start = _start(body)
    if not start:
        raise _broken(request, "the document is empty")
    if start.startswith(("{", "[")):
        try:
            return jsonfeed.read(body)
        except ValueError as error:
            raise _broken(request, str(error)) from error
    feed = xmlfeed.read(body, request.url, request.charset)
    if not feed.format and (_HTML.search(start) or not feed.entries):
        raise _broken(request, _no_feed(body, start, request.url))
    if not feed.entries and feed.problems:
        raise _broken(request, f"no entry can be read: {feed.problems[0]}; the feed is damaged or was cut off")
    return feed


def _unpacked(request: Request) -> bytes:
    """The body itself, or what is in it if it is a gzip file."""
    if not request.body.startswith(GZIP):
        return request.body
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        body = stream.decompress(request.body, UNPACKED_LIMIT)
    except zlib.error as error:
        raise _broken(request, f"the document is a damaged gzip file ({error})") from error
    if stream.unconsumed_tail:
        raise _broken(request, f"the document unpacks to more than the limit of {UNPACKED_LIMIT:,} bytes")
    return body


def _start(body: bytes) -> str:
    """The first characters of a document, whatever its encoding: enough to tell one kind of document from another."""
    head = body.removeprefix(codecs.BOM_UTF8)[:4096]
    return head.decode("latin-1").replace("\0", "").lstrip("\xff\xfe \t\r\n")[:2048]


def _no_feed(body: bytes, start: str, url: str) -> str:
    if not _HTML.search(start):
        return "the document is not a feed: it is neither RSS, Atom nor JSON Feed"
    page = body[: document.FIELD_LENGTH].decode("utf-8", "replace")
    for link in _LINK.findall(page):
        if _FEED_TYPE.search(link) and (address := _HREF.search(link)):
            found = urls.canonical(address[1].replace("&amp;", "&"), url)
            return f"the document is a web page, not a feed; it names this feed: {found}"
    return "the document is a web page, not a feed"


def _article_set(request: Request, feed: document.Feed) -> artifacts.ArticleSet:
    home = urls.canonical(feed.home, request.url) if feed.home else ""
    title = request.source.title or text.line(feed.title, TITLE_LENGTH) or urls.site(request.source.url)
    bare = artifacts.ArticleSet(
        source_url=request.source.url,
        source_title=title,
        format=feed.format or "unknown",
        language=language.of_feed(feed.language, articles.sample(feed)),
        entries=len(feed.entries),
        records=(),
    )
    built = _built(feed, bare, request, home)
    problems = (*feed.problems, *_notes(feed, built))
    return bare.model_copy(
        update={
            "records": tuple(built.kept[place] for place in sorted(built.kept)),
            "problems": tuple(text.repaired(note) for note in problems),
        }
    )


@dataclasses.dataclass(frozen=True)
class _Built:
    """Distinct articles by the place of their entry, and how many entries gave none."""

    kept: dict[int, artifacts.Article]
    empty: int
    repeated: int


def _built(feed: document.Feed, bare: artifacts.ArticleSet, request: Request, home: str) -> _Built:
    kept: dict[int, artifacts.Article] = {}
    places: dict[str, int] = {}
    empty = repeated = 0
    for place in articles.ranked(feed.entries, request.now)[: LOOKED_AT * request.max_articles]:
        if len(kept) == request.max_articles:
            break
        article = articles.build(feed.entries[place], bare, request.url, home, request.now)
        if article is None:
            empty += 1
            continue
        first = places.setdefault(article.id, place)
        repeated += first != place
        # Where a feed has an entry twice, one of them is often a stub.
        if first == place or len(article.text) > len(kept[first].text):
            kept[first] = article
    return _Built(kept, empty, repeated)


def _notes(feed: document.Feed, built: _Built) -> list[str]:
    kept, total = len(built.kept), len(feed.entries)
    facts = (
        (not total, "the feed has no entries"),
        (built.empty > 0, f"entries with neither title nor text: {built.empty}"),
        (built.repeated > 0, f"entries that repeat others of the feed: {built.repeated}"),
        (kept < total - built.empty - built.repeated, f"entries kept: {kept} of {total}"),
    )
    return [note for applies, note in facts if applies]
