"""Summaries made of a text's own sentences."""

import collections
import functools
import math
from collections.abc import Sequence

from consumers.analysis import text

LEAD_SHARE = 1 / 3
"""Of less than this share of a news text its beginning is the best summary; of more, what covers its words best."""

SHORTEST = 4
"""Sentences of fewer words are headings, bylines or crumbs of markup, and are passed over where others exist."""

REMEMBERED = 300
"""Texts whose sentences are remembered: a report's articles are summarised and told apart in turn."""


def summary(body: str, sentences: int) -> str:
    """At most so many sentences of the text in their order: the lead, or the best cover of its words for long ones."""
    found = _usable(body)
    if len(found) <= sentences:
        return " ".join(found)
    if sentences < LEAD_SHARE * len(found):
        return " ".join(found[:sentences])
    return " ".join(found[index] for index in sorted(_ranked(found)[:sentences]))


@functools.lru_cache(maxsize=REMEMBERED)
def _usable(body: str) -> tuple[str, ...]:
    found = list(dict.fromkeys(text.sentences(body)))
    whole = [sentence for sentence in found if len(text.words(sentence)) >= SHORTEST]
    return tuple(whole or found)


def _ranked(sentences: Sequence[str]) -> list[int]:
    """Sentences by the sum of log term frequency over their distinct stems, the best first."""
    stems = [set(text.stems(sentence)) for sentence in sentences]
    counts = collections.Counter(stem for sentence in sentences for stem in text.stems(sentence))
    weights = [sum(math.log1p(counts[stem] - 1) for stem in sorted(found)) for found in stems]
    return sorted(range(len(sentences)), key=lambda index: (-round(weights[index], 9), index))
