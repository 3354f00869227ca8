"""Names for themes: the words that set a group of articles apart from the others."""

import collections
import functools
import importlib.resources
import math
import re
from collections.abc import Sequence

_WORD = re.compile(r"(?<![\w'\u2019])[^\W\d_][^\W_]*(?:-[^\W_]+)*(?:['\u2019]s)?(?![\w'\u2019])")
_SHORTEST = 3
_NAME = 1.5
"""Names say more about a theme than other words."""


@functools.cache
def common() -> frozenset[str]:
    """Words of headlines that name nothing."""
    content = importlib.resources.files("consumers.stages").joinpath("data", "common_words.tsv").read_text("utf-8")
    return frozenset(word for line in content.splitlines()[1:] for word in line.split())


def words(texts: Sequence[str], others: Sequence[str], avoid: str, most: int = 4) -> tuple[str, ...]:
    """The words that most of these texts share and the others lack, as they are mostly written, none of ``avoid``.

    Each text is a title with its summary; a word counts once for each text.
    """
    taboo = {word.casefold() for word in _WORD.findall(avoid)}
    spellings: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for text in texts:
        for spelling in dict.fromkeys(_WORD.findall(text)):
            spellings[_key(spelling)][spelling] += 1
    inside = _holding(texts)
    outside = _holding(others)
    weights = {
        key: count * math.log((len(others) + 2) / (outside[key] + 1)) * (_NAME if _is_name(spellings[key]) else 1.0)
        for key, count in inside.items()
        if len(key) >= _SHORTEST and key not in common() and key not in taboo and (count > 1 or len(texts) == 1)
    }
    ordered = sorted(weights, key=lambda key: (-round(weights[key], 6), key))
    return tuple(_spelling(spellings[key]) for key in ordered[:most])


def _key(word: str) -> str:
    key = word.casefold().removesuffix("'s").removesuffix("\u2019s")
    return key[:-1] if len(key) > _SHORTEST + 1 and key.endswith("s") and not key.endswith("ss") else key


def _holding(texts: Sequence[str]) -> collections.Counter[str]:
    return collections.Counter(key for text in texts for key in {_key(word) for word in _WORD.findall(text)})


def _is_name(counts: collections.Counter[str]) -> bool:
    return not any(spelling[0].islower() for spelling in counts)


def _spelling(counts: collections.Counter[str]) -> str:
    """The commonest spelling without possessive, in small letters unless it is never written so."""
    small = [spelling for spelling in counts if spelling.islower()]
    best = min(small or counts, key=lambda spelling: (-counts[spelling], spelling))
    return best.removesuffix("'s").removesuffix("\u2019s")
