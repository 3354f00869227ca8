"""The measures, each by its definition: of rankings, of groups and of summaries."""

import collections
import itertools
import math
import re
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Pairs = set[tuple[int, int]]
Relevant = Sequence[bool] | npt.NDArray[np.bool_]

_TOKEN = re.compile(r"[^\W_]+")


class Agreement(NamedTuple):
    """How far what was found agrees with what was expected, each between 0 and 1."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def average_precision(scores: Sequence[float], relevant: Relevant) -> float:
    """The mean of the precision at each relevant item; equal scores keep their order. 0 if nothing is relevant."""
    hits = np.asarray(relevant, bool)[np.argsort(-np.asarray(scores), kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean()) if hits.any() else 0.0


def area_under_curve(scores: Sequence[float], relevant: Relevant) -> float | None:
    """How often a relevant item scores above one that is not, ties counting half; None without both kinds."""
    values, chosen = np.asarray(scores), np.asarray(relevant, bool)
    good, bad = values[chosen], np.sort(values[~chosen])
    if not len(good) or not len(bad):
        return None
    below = np.searchsorted(bad, good, "left")
    not_above = np.searchsorted(bad, good, "right")
    return float((below + not_above).sum() / 2 / len(good) / len(bad))


def gain_at_ten(scores: Sequence[float], relevant: Relevant) -> float:
    """Normalised discounted cumulative gain of the best ten (Järvelin and Kekäläinen 2002); 0 without relevant ones."""
    hits = np.asarray(relevant, bool)
    order = np.argsort(-np.asarray(scores), kind="stable")[:10]
    discounts = 1 / np.log2(np.arange(2, 12))
    ideal = discounts[: min(10, int(hits.sum()))].sum()
    return float((hits[order] * discounts[: len(order)]).sum() / ideal) if ideal else 0.0


def pairs_within(labels: Sequence[Hashable]) -> Pairs:
    """All pairs of positions with equal labels, the smaller one first."""
    members: dict[Hashable, list[int]] = collections.defaultdict(list)
    for position, label in enumerate(labels):
        members[label].append(position)
    return {pair for group in members.values() for pair in itertools.combinations(group, 2)}


def pairwise(found: Pairs, expected: Pairs) -> Agreement:
    """Agreement on pairs; where nothing is found, or nothing expected, nothing is wrong with that side."""
    both = len(found & expected)
    return Agreement(both / len(found) if found else 1.0, both / len(expected) if expected else 1.0)


def bcubed(found: Sequence[Hashable], expected: Sequence[Hashable]) -> Agreement:
    """The mean over all items of the agreement between the two groups of each (Bagga and Baldwin 1998)."""
    if not found:
        return Agreement(1.0, 1.0)
    ours, theirs = collections.Counter(found), collections.Counter(expected)
    both = collections.Counter(zip(found, expected, strict=True))
    return Agreement(
        sum(count**2 / ours[one] for (one, _), count in both.items()) / len(found),
        sum(count**2 / theirs[other] for (_, other), count in both.items()) / len(found),
    )


def groups(size: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """For each position the smallest one that it hangs together with over any number of pairs."""
    root = list(range(size))

    def top(position: int) -> int:
        while root[position] != position:
            root[position] = root[root[position]]
            position = root[position]
        return position

    for left, right in pairs:
        low, high = sorted((top(left), top(right)))
        root[high] = low
    return [top(position) for position in range(size)]


class Rouge(NamedTuple):
    """F1 of ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004) on words in lower case, without stemming or stop words."""

    rouge1: float
    rouge2: float
    rougeL: float


def rouge(summary: str, reference: str) -> Rouge:
    """How far a summary agrees with its reference; each text is one sequence of words."""
    ours, theirs = (_TOKEN.findall(each.lower()) for each in (summary, reference))
    return Rouge(_of_runs(ours, theirs, 1), _of_runs(ours, theirs, 2), _of_order(ours, theirs))


def _of_runs(ours: Sequence[str], theirs: Sequence[str], length: int) -> float:
    found, expected = (
        collections.Counter(zip(*(each[start:] for start in range(length)), strict=False)) for each in (ours, theirs)
    )
    return 2 * (found & expected).total() / max(1, found.total() + expected.total())


def _of_order(ours: Sequence[str], theirs: Sequence[str]) -> float:
    return 2 * longest_common_subsequence(ours, theirs) / max(1, len(ours) + len(theirs))


def longest_common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Its length, by the bits of one large number (Hyyrö 2004)."""
    places: dict[str, int] = collections.defaultdict(int)
    for place, word in enumerate(left):
        places[word] |= 1 << place
    whole = (1 << len(left)) - 1
    row = whole
    for word in right:
        matching = row & places.get(word, 0)
        row = ((row + matching) | (row - matching)) & whole
    return len(left) - row.bit_count()


def lexrank(sentences: Sequence[str], most: int, threshold: float = 0.1, damping: float = 0.85) -> str:
    """The most central sentences in their order: LexRank (Erkan and Radev 2004) with the paper's own settings."""
    counts = [collections.Counter(_TOKEN.findall(sentence.lower())) for sentence in sentences]
    holding = collections.Counter(word for count in counts for word in count)
    rows = [{word: count[word] * math.log(len(counts) / holding[word]) for word in count} for count in counts]
    norms = [math.sqrt(sum(value**2 for value in row.values())) or 1.0 for row in rows]
    linked = np.array(
        [
            [
                sum(value * other[word] for word, value in row.items() if word in other) / norm / its > threshold
                for other, its in zip(rows, norms, strict=True)
            ]
            for row, norm in zip(rows, norms, strict=True)
        ],
        np.float64,
    )
    np.fill_diagonal(linked, 1.0)
    walk = linked / linked.sum(axis=1, keepdims=True)
    rank = np.full(len(rows), 1 / len(rows))
    for _ in range(100):
        after = (1 - damping) / len(rows) + damping * (rank @ walk)
        if np.abs(after - rank).sum() < 1e-6:
            break
        rank = after
    best = sorted(np.argsort(-rank, kind="stable")[:most].tolist())
    return " ".join(sentences[place] for place in best)
