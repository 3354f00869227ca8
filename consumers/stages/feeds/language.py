"""Languages of feeds and articles: what they declare, checked against what they are written in."""

import functools
import re

from py3langid import langid

SAMPLE = 2000
ARTICLE_SAMPLE = 800
SHORTEST = 20
LIKELY = 0.5
LONG_FEED, SURE_OF_FEED = 500, 0.85
LONG_ARTICLE, SURE_OF_ARTICLE = 300, 0.95
"""Characters and probability from which detection overrules a declaration: much blog software declares its default."""

_SUBTAG = re.compile(r"[a-z]{2,3}$")
_UNKNOWN = frozenset({"und", "mul", "zxx", "mis"})


@functools.cache
def _identifier() -> langid.LanguageIdentifier:
    # Takes most of a second, so it is done once, in the process that reads feeds.
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


def declared(tag: str) -> str:
    """The language of a tag such as ``en-GB`` as a code of two or three letters; empty if it names none."""
    code = re.split(r"[-_]", tag.strip().lower(), maxsplit=1)[0]
    return code if _SUBTAG.match(code) and code not in _UNKNOWN else ""


def of_feed(tag: str, sample: str) -> str:
    """The language of a feed that declares ``tag`` and whose texts begin with ``sample``; empty if it stays unknown."""
    said = declared(tag)
    found, probability = _detected(sample)
    if said:
        return found if len(sample) >= LONG_FEED and probability >= SURE_OF_FEED else said
    return found if probability >= LIKELY else ""


def of_article(tag: str, text: str, feed: str) -> str:
    """The language of an article: its own declaration, or a clear finding, or the language of its feed."""
    said = declared(tag)
    if said and said != feed:
        return said
    if len(text) < LONG_ARTICLE and feed:
        return feed
    found, probability = _detected(text[:ARTICLE_SAMPLE])
    return found if probability >= SURE_OF_ARTICLE or (not feed and probability >= LIKELY) else feed


def _detected(text: str) -> tuple[str, float]:
    if len(text) < SHORTEST:
        return "", 0.0
    code, probability = _identifier().classify(text[:SAMPLE])
    return str(code), float(probability)
