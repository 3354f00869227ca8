"""Summaries and key points made of a text's own sentences."""

import collections
import functools
import math
from collections.abc import Sequence

from consumers.analysis import text

LEAD_SHARE = 1 / 3
"""Of less than this share of a news text its beginning is the best summary; of more, what covers its words best."""

SHORTEST = 4
"""Sentences of fewer words are headings, bylines or crumbs of markup, and are passed over where others exist."""

_POINT_WORDS = 40

REMEMBERED = 300
"""Texts whose sentences are remembered: a report's articles are summarised, pointed out and told apart in turn."""


def summary(body: str, sentences: int) -> str:
    """At most so many sentences of the text in their order: the lead, or the best cover of its words for long ones."""
    found = _usable(body)
    if len(found) <= sentences:
        return " ".join(found)
    if sentences < LEAD_SHARE * len(found):
        return " ".join(found[:sentences])
    return " ".join(found[index] for index in sorted(_ranked(found)[:sentences]))


def key_points(body: str, points: int) -> tuple[str, ...]:
    """Up to so many of the sentences that carry the most of the text, in their order, none longer than forty words."""
    found = [sentence for sentence in _usable(body) if len(text.words(sentence)) <= _POINT_WORDS]
    if len(found) <= points:
        return tuple(found)
    return tuple(found[index] for index in sorted(_ranked(found, per_word=True)[:points]))


@functools.lru_cache(maxsize=REMEMBERED)
def _usable(body: str) -> tuple[str, ...]:
    found = list(dict.fromkeys(text.sentences(body)))
    whole = [sentence for sentence in found if len(text.words(sentence)) >= SHORTEST]
    return tuple(whole or found)


def _ranked(sentences: Sequence[str], *, per_word: bool = False) -> list[int]:
    """Sentences by the sum of log term frequency over their distinct stems, the best first."""
    stems = [set(text.stems(sentence)) for sentence in sentences]
    counts = collections.Counter(stem for sentence in sentences for stem in text.stems(sentence))
    weights = [sum(math.log1p(counts[stem] - 1) for stem in sorted(found)) for found in stems]
    if per_word:
        weights = [weight / math.sqrt(len(found) + 1) for weight, found in zip(weights, stems, strict=True)]
    return sorted(range(len(sentences)), key=lambda index: (-round(weights[index], 9), index))
