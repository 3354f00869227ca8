"""The text of an article out of its web page, and how far it can be trusted to be that text."""

import re
from typing import Literal

import pydantic
import trafilatura

from consumers.stages.feeds import document, text
from contracts import errors, model

PAGE_LENGTH = 5 * 1024 * 1024
"""Bytes of a page that are looked at."""

LEAST_CONFIDENCE = 0.6
"""Share of the teaser's words that the page's text must hold; a page without them is another page: a notice about
cookies, a wall to be paid at, an error."""

GAIN = 1.5
"""How many times longer than the teaser a text must be to be worth taking."""

_WORD = re.compile(r"[^\W\d_]{4,}|\d{2,}")

Method = Literal["trafilatura", "trafilatura-baseline"]


class Request(model.Model):
    """The page of an article of which a feed gave no more than the teaser."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    body: bytes
    url: str
    title: str
    teaser: str
    length: int


class Extract(model.Model):
    """A text with the method that found it and its confidence: the share of the teaser's words that it holds."""

    text: str
    method: Method
    confidence: float


def extract(request: Request) -> Extract:
    """The article's text; raises PermanentError if none is found that can be the one the feed speaks of."""
    body = request.body[:PAGE_LENGTH]
    try:
        found = _main(body, request) or _baseline(body, request)
    except (errors.StageError, MemoryError, OSError):
        raise
    except Exception as error:  # parsers fail in many ways on hostile input, and each is the page's fault
        raise errors.PermanentError(f"the page cannot be read ({type(error).__name__}: {error})"[:500]) from error
    if found is None:
        raise errors.PermanentError("the page has no text that fits what the feed says of the article")
    return found


def confidence(teaser: str, title: str, found: str) -> float:
    """Share of the distinct longer words of a teaser, or of the title where there is none, that a text holds."""
    expected = _words(teaser) or _words(title)
    return len(expected & _words(found)) / len(expected) if expected else 0.0


def _main(body: bytes, request: Request) -> Extract | None:
    found = trafilatura.bare_extraction(body, url=request.url, include_comments=False, favor_precision=True)
    return _judged(getattr(found, "text", None) or "", "trafilatura", request)


def _baseline(body: bytes, request: Request) -> Extract | None:
    # Takes all paragraphs, where the layout is too odd to tell which belong to the article.
    _, found, _ = trafilatura.baseline(body)
    return _judged(found, "trafilatura-baseline", request)


def _judged(value: str, method: Method, request: Request) -> Extract | None:
    # What was taken out of markup is plain, whatever it looks like.
    clean = text.shortened(text.plain(document.Markup(value, html=False)), request.length)
    share = confidence(request.teaser, request.title, clean)
    if share < LEAST_CONFIDENCE or len(clean) < GAIN * len(request.teaser):
        return None
    return Extract(text=clean, method=method, confidence=round(share, 3))


def _words(value: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(value)}
