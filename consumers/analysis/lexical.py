"""Term counts of a collection: BM25 for a query, and sparse TF-IDF vectors."""

import collections
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
Counts = collections.Counter[str]

_SATURATION = 1.2
_LENGTH = 0.75


def counted(documents: Iterable[Iterable[str]]) -> list[Counts]:
    """How often each term stands in each document."""
    return [collections.Counter(document) for document in documents]


def bm25(documents: Sequence[Counts], query: Mapping[str, float]) -> Scores:
    """Okapi BM25 of each document for weighted terms (Robertson and Zaragoza 2009), its IDF never negative."""
    scores = np.zeros(len(documents))
    lengths = np.array([document.total() for document in documents], dtype=np.float64)
    mean = max(1.0, float(lengths.mean())) if len(documents) else 1.0
    norms = _SATURATION * (1 - _LENGTH + _LENGTH * lengths / mean)
    for term, weight in query.items():
        counts = np.array([document[term] for document in documents], dtype=np.float64)
        holding = int(np.count_nonzero(counts))
        if holding:
            idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
            scores += weight * idf * counts * (_SATURATION + 1) / (counts + norms)
    return scores


class Sparse(NamedTuple):
    """Unit TF-IDF vectors as parallel arrays, sorted by row: entry k is ``values[k]`` at ``rows[k], columns[k]``."""

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    shape: tuple[int, int]
    terms: tuple[str, ...]


def tfidf(documents: Sequence[Counts]) -> Sparse:
    """Sublinear TF-IDF with smoothed IDF, each row at length one; columns are terms in alphabetical order."""
    holding: Counts = collections.Counter()
    for document in documents:
        holding.update(document.keys())
    terms = tuple(sorted(holding))
    number = {term: index for index, term in enumerate(terms)}
    idf = np.array([math.log((1 + len(documents)) / (1 + holding[term])) + 1 for term in terms], dtype=np.float32)
    rows = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    columns = np.array([number[term] for document in documents for term in document], dtype=np.int64)
    counts = np.array([count for document in documents for count in document.values()], dtype=np.float32)
    values = (1 + np.log(counts)) * idf[columns] if len(columns) else np.zeros(0, np.float32)
    squares = np.bincount(rows, weights=values**2, minlength=len(documents))
    values = (values / np.sqrt(squares)[rows]).astype(np.float32) if len(columns) else values.astype(np.float32)
    return Sparse(rows, columns, values, (len(documents), len(terms)), terms)


def similarities(vectors: Sparse) -> npt.NDArray[np.float32]:
    """The cosine of every pair of rows."""
    size = vectors.shape[0]
    result = np.zeros((size, size), np.float32)
    order = np.argsort(vectors.columns, kind="stable")
    rows, columns, values = vectors.rows[order], vectors.columns[order], vectors.values[order]
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(columns)], strict=True):
        if end - start > 1:
            holders, weights = rows[start:end], values[start:end]
            result[np.ix_(holders, holders)] += np.outer(weights, weights)
    np.fill_diagonal(result, 1.0)
    return result
