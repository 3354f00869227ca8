"""Near-duplicates by shared word shingles, found through an inverted index instead of all pairs."""

import functools
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumers.analysis import text

SHINGLE = 3
CONTAINED = 0.60
"""Share of the smaller text's shingles that the other must hold; the best F1 on labelled pairs and on edited copies."""

ALIKE = 1 / 3
"""Or the share of both texts' shingles that they have in common: two of equal length share half of each then,
which is a report written over, where the same share of a short text may be no more than a quotation."""

FEWEST = 6
"""Texts with fewer shingles repeat another only if all their words agree: a few words in common prove nothing."""

COMMONEST = 64
"""A shingle in more texts than this is boilerplate or a turn of phrase; it neither proposes pairs nor counts in one."""

_MULTIPLIERS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
"""Odd constants that spread the numbers of three words over 64 bits."""

_POWERS = np.cumprod(np.full(64, 0x9E3779B97F4A7C15, np.uint64))
"""What each place in a word multiplies its letter with."""

Integers = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.uint64]


class _Postings(NamedTuple):
    """Which texts hold which shingle, sorted by shingle."""

    shingles: Numbers
    holders: Integers


def repeats(texts: Sequence[str]) -> list[int]:
    """For each text the index of the first text that it nearly repeats, its own where it repeats none."""
    words = [_words(body) for body in texts]
    first: dict[bytes, int] = {}
    result = [first.setdefault(found.tobytes(), index) if len(found) else index for index, found in enumerate(words)]
    distinct = [index for index, original in enumerate(result) if index == original]
    for left, right in _contained(_postings(words, distinct), len(texts)):
        if result[right] == right:
            result[right] = result[left]
    return result


@functools.cache
def _kinds() -> npt.NDArray[np.uint8]:
    """For each code point whether it is no part of a word, a part, or a word of its own as ideographs are."""
    kinds = np.array([chr(code).isalnum() for code in range(sys.maxunicode + 1)], np.uint8)
    for start, end in text.IDEOGRAPHS:
        kinds[start : end + 1] *= 2
    return kinds


def _words(body: str) -> Numbers:
    """A number for each word of a text in lower case: equal for equal words, and hardly ever for others."""
    codes = np.frombuffer(body.lower().encode("utf-32-le", "surrogatepass"), "<u4")
    kinds = _kinds()[codes]
    inside = kinds > 0
    begins = inside.copy()
    begins[1:] &= (kinds[:-1] != 1) | (kinds[1:] == 2)
    starts = np.flatnonzero(begins)
    if not len(starts):
        return np.zeros(0, np.uint64)
    places = np.arange(len(codes)) - starts[np.maximum(np.cumsum(begins) - 1, 0)]
    return np.add.reduceat((codes * inside).astype(np.uint64) * _POWERS[places % len(_POWERS)], starts)


def _postings(words: Sequence[Numbers], chosen: Sequence[int]) -> _Postings:
    parts: list[Numbers] = []
    for index in chosen:
        runs = max(0, len(words[index]) - SHINGLE + 1)
        hashed = np.zeros(runs, np.uint64)
        for offset, multiplier in enumerate(_MULTIPLIERS):
            hashed ^= words[index][offset : offset + runs] * np.uint64(multiplier)
        hashed.sort()
        parts.append(hashed[np.append(True, hashed[1:] != hashed[:-1])[:runs]])
    holders = np.repeat(np.array(chosen, dtype=np.int64), [len(part) for part in parts])
    shingles = np.concatenate(parts) if parts else np.zeros(0, np.uint64)
    order = np.argsort(shingles, kind="stable")
    return _Postings(shingles[order], holders[order])


def _contained(postings: _Postings, size: int) -> list[tuple[int, int]]:
    """The pairs of texts of which one nearly contains the other, or that are much the same, in order."""
    starts = np.flatnonzero(np.concatenate(([True], postings.shingles[1:] != postings.shingles[:-1])))
    if not len(postings.shingles):
        return []
    held = np.diff(np.append(starts, len(postings.shingles)))
    counted = np.repeat(held <= COMMONEST, held)
    sizes = np.bincount(postings.holders[counted], minlength=size)
    pairs, shared = np.unique(_pairs(postings.holders, starts, held, size), return_counts=True)
    left, right = pairs // size, pairs % size
    smaller = np.minimum(sizes[left], sizes[right])
    both = sizes[left] + sizes[right] - shared
    chosen = (smaller >= FEWEST) & ((shared >= CONTAINED * smaller) | (shared >= ALIKE * both))
    return list(zip(left[chosen].tolist(), right[chosen].tolist(), strict=True))


def _pairs(holders: Integers, starts: Integers, held: Integers, size: int) -> Integers:
    """A code for each pair of texts under each shingle that neither is alone with nor shares with too many."""
    found = [np.zeros(0, np.int64)]
    for count in range(2, COMMONEST + 1):
        rows = starts[held == count]
        if len(rows):
            group = holders[rows[:, None] + np.arange(count)]
            left, right = np.triu_indices(count, 1)
            found.append((group[:, left] * size + group[:, right]).ravel())
    return np.concatenate(found)
