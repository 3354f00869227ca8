"""JSON Feed 1.0 and 1.1 (https://www.jsonfeed.org/version/1.1/)."""

import datetime
import json
from collections.abc import Iterable

from consumers.stages.feeds import dates, document, text

VERSION = "jsonfeed.org/version/"
AUTHORS = 5


def read(body: bytes) -> document.Feed:
    """The feed in a JSON document; raises ValueError, whose text says what is wrong, for anything else."""
    try:
        # Detects UTF-8, 16 and 32; a text that mixes encodings is read as far as it goes.
        content: object = json.loads(body.decode(json.detect_encoding(body), "replace").lstrip("\ufeff"))
    except json.JSONDecodeError as error:
        place, reason = f"line {error.lineno}, column {error.colno}", error.msg.removesuffix(" at").lower()
        raise ValueError(f"the JSON is broken at {place} ({reason}); it may have been cut off") from error
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    if not isinstance(content, dict) or not isinstance(content.get("items"), list):
        raise ValueError("the JSON is not a JSON Feed: it has no list of items")
    version = _string(content, "version")
    items = content["items"]
    return document.Feed(
        format=f"JSON Feed {version.rpartition(VERSION)[2]}" if VERSION in version else "JSON Feed",
        title=document.Markup(_string(content, "title"), html=False),
        home=_string(content, "home_page_url"),
        language=_string(content, "language"),
        entries=tuple(_entry(item if isinstance(item, dict) else {}, content) for item in items),
        problems=() if VERSION in version else ("the document does not name its version of JSON Feed",),
    )


def _entry(item: dict[str, object], feed: dict[str, object]) -> document.Entry:
    bodies = (
        document.Markup(_string(item, "content_html")),
        document.Markup(_string(item, "content_text"), html=False),
        document.Markup(_string(item, "summary"), html=False),
    )
    return document.Entry(
        guid=_string(item, "id"),
        link=_string(item, "url") or _string(item, "external_url"),
        title=document.Markup(_string(item, "title"), html=False),
        bodies=tuple(body for body in bodies if body.value),
        published=_moment(item, "date_published"),
        updated=_moment(item, "date_modified"),
        language=_string(item, "language"),
        authors=_authors(item) or _authors(feed),
    )


def _string(values: dict[str, object], name: str) -> str:
    value = values.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)  # identifiers are numbers in many feeds, and readers must take them as text
    return text.repaired(value[: document.FIELD_LENGTH]) if isinstance(value, str) else ""


def _moment(values: dict[str, object], name: str) -> datetime.datetime | None:
    return dates.parse(_string(values, name))


def _authors(values: dict[str, object]) -> tuple[str, ...]:
    several, single = values.get("authors"), values.get("author")
    people: Iterable[object] = several if isinstance(several, list) else (single,)
    return tuple(name for person in people if isinstance(person, dict) and (name := _string(person, "name")))[:AUTHORS]
