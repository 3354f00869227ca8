"""RSS, RDF and Atom in all their versions, read by feedparser."""

import contextlib
import datetime
import io
from collections.abc import Iterator
from typing import Any

import feedparser

from consumers.stages.feeds import dates, document, text

AUTHOR_LENGTH = 300
AUTHORS = 5


def read(body: bytes, url: str, charset: str = "") -> document.Feed:
    """The feed in an XML document; ``charset`` is what the server said and counts only if the document is silent.

    A document that is no feed has an empty ``format``. Text that feedparser could read of a broken one is kept, and
    ``problems`` says what is broken.
    """
    # With these headers feedparser goes by the document's own declaration first and resolves links against the URL.
    kind = "application/xml" + (f"; charset={charset}" if charset and not _speaks(body) else "")
    with _tamed():
        parsed = feedparser.parse(
            io.BytesIO(body),
            response_headers={"content-type": kind, "content-location": url},
            sanitize_html=False,
            resolve_relative_uris=False,
        )
    head = parsed.feed
    return document.Feed(
        format=feedparser.api.SUPPORTED_VERSIONS.get(parsed.version, "") if parsed.version else "",
        title=_markup(head, "title"),
        home=_string(head, "link"),
        language=_string(head, "language"),
        entries=tuple(_entry(entry) for entry in parsed.entries),
        problems=_problems(parsed),
    )


def _speaks(body: bytes) -> bool:
    """Whether a document tells its own encoding: by a declaration, a byte order mark, or by being UTF-8."""
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or b"encoding=" in body[:200]:
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


@contextlib.contextmanager
def _tamed() -> Iterator[None]:
    """Keep feedparser 6 from its quadratic search in long author fields and from the system's own XML parsers."""
    mixin = feedparser.mixin._FeedParserMixin
    original, drivers = mixin._sync_author_detail, feedparser.api.PREFERRED_XML_PARSERS

    def sync_short_author(parser: Any, key: str = "author") -> None:
        context = parser._get_context()
        if isinstance(author := dict.get(context, key), str):
            context[key] = author[:AUTHOR_LENGTH]
        original(parser, key)

    mixin._sync_author_detail, feedparser.api.PREFERRED_XML_PARSERS = sync_short_author, []
    try:
        yield
    finally:
        mixin._sync_author_detail, feedparser.api.PREFERRED_XML_PARSERS = original, drivers


def _entry(entry: dict[str, Any]) -> document.Entry:
    contents = [_detail(content) for content in dict.get(entry, "content") or () if isinstance(content, dict)]
    return document.Entry(
        guid=_string(entry, "id"),
        link=_string(entry, "feedburner_origlink") or _string(entry, "link"),
        title=_markup(entry, "title"),
        bodies=tuple(body for body in (*contents, _detail(dict.get(entry, "summary_detail") or {})) if body.value),
        published=_moment(entry, "published") or _moment(entry, "created"),
        updated=_moment(entry, "updated"),
        language=_string(entry, "language"),
        authors=_authors(entry),
    )


def _string(values: dict[str, Any], name: str) -> str:
    # dict.get, because feedparser's own looks under other names as well and warns about some of them.
    value = dict.get(values, name)
    return value[: document.FIELD_LENGTH] if isinstance(value, str) else ""


def _markup(values: dict[str, Any], name: str) -> document.Markup:
    detail = dict.get(values, f"{name}_detail") or {}
    return document.Markup(_string(values, name), html=dict.get(detail, "type") != "text/plain")


def _detail(detail: dict[str, Any]) -> document.Markup:
    value = _string(detail, "value")
    # Much escaped HTML is declared, or by Atom's default taken, as plain text.
    return document.Markup(value, html=dict.get(detail, "type") != "text/plain" or text.looks_like_html(value))


def _moment(entry: dict[str, Any], name: str) -> datetime.datetime | None:
    return dates.from_parsed(dict.get(entry, f"{name}_parsed")) or dates.parse(_string(entry, name))


def _authors(entry: dict[str, Any]) -> tuple[str, ...]:
    people = [person for person in dict.get(entry, "authors") or () if isinstance(person, dict)]
    names = [_string(person, "name") for person in people] or [_string(entry, "author")]
    return tuple(dict.fromkeys(name for name in names if name))[:AUTHORS]


def _problems(parsed: Any) -> tuple[str, ...]:
    error = parsed.get("bozo_exception")
    if error is None:
        return ()
    if isinstance(error, feedparser.CharacterEncodingOverride):
        return (f"the text is not in the declared encoding ({error})",)
    if hasattr(error, "getLineNumber"):
        place = f"line {error.getLineNumber()}, column {error.getColumnNumber()}"
        return (f"the XML is broken at {place}: {error.getMessage()}",)
    return (f"the document is broken: {error}",)
