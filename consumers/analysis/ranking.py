"""Ranking of short documents, such as the titles of feeds with their tags, for a topic."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from consumers.analysis import embedding, lexical, text
from contracts import analysis

_STEMS = 0.50
_GRAMS = 0.15
_PHRASE = 0.50
_LIST = 0.15
_FULL = 1.5
"""What BM25 gives a term that stands once in a short document; a document with every term at this rate scores 1."""


def scores(
    topic: analysis.Topic, documents: Sequence[str], vectors: embedding.Vectors, queries: embedding.Vectors
) -> list[float]:
    """A score of each document between 0 and 1; ``queries`` are the vectors of the phrase and of phrase with words."""
    words = np.maximum(
        _share(lexical.counted(text.stems(document) for document in documents), text.stems(topic.phrase)),
        _named(topic, documents),
    )
    grams = _share(
        lexical.counted(text.grams(document) for document in documents),
        list(text.grams(" ".join(text.stems(topic.phrase)))),
    )
    meaning = np.clip(vectors @ queries.T, 0, 1).astype(np.float64)
    total = _STEMS * words + _GRAMS * grams + _PHRASE * meaning[:, 0] + _LIST * meaning[:, 1]
    return [round(float(score), 4) for score in np.clip(total, 0, 1)]


def _named(topic: analysis.Topic, documents: Sequence[str]) -> lexical.Scores:
    """0.8 where a document holds another name of the topic in full."""
    names = [found for found in (frozenset(text.stems(name)) for name in topic.names) if found]
    held = [frozenset(text.stems(document)) for document in documents]
    return np.array([0.8 if any(name <= document for name in names) else 0.0 for document in held])


def _share(documents: Sequence[lexical.Counts], terms: Sequence[str]) -> lexical.Scores:
    """BM25 of each document as a share of what one with all the terms would get, unknown terms included."""
    query: Mapping[str, float] = dict.fromkeys(terms, 1.0)
    ideal = 0.0
    for term in query:
        holding = sum(term in document for document in documents)
        ideal += math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
    return np.clip(lexical.bm25(documents, query) / max(ideal * _FULL, 1e-9), 0, 1)
