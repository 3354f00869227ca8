"""Ranking of short documents, such as the titles of feeds with their tags, for a topic."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from consumers.analysis import embedding, lexical, text
from contracts import analysis

_STEMS = 0.50
_OTHER_NAME = 0.8
_NAMES = 8
_GRAMS = 0.15
_PHRASE = 0.50
_LIST = 0.15
_FEEDBACK = 0.30
FEEDBACK_SHARE = 0.01
"""What is close to the best hundredth of a large collection is likelier to be on the topic (Rocchio 1971)."""

_FULL = 1.5
"""What BM25 gives a term that stands once in a short document; a document with every term at this rate scores 1."""


def scores(
    topic: analysis.Topic, documents: Sequence[str], vectors: embedding.Vectors, queries: embedding.Vectors
) -> list[float]:
    """A score of each document between 0 and 1; ``queries`` are the vectors of the phrase and of phrase with words."""
    counted = lexical.counted(text.stems(document) for document in documents)
    words = _share(counted, text.stems(topic.phrase))
    for name in topic.names[:_NAMES]:
        words = np.maximum(words, _OTHER_NAME * _share(counted, text.stems(name)))
    grams = _share(
        lexical.counted(text.grams(document) for document in documents),
        list(text.grams(" ".join(text.stems(topic.phrase)))),
    )
    meaning = np.clip(vectors @ queries.T, 0, 1).astype(np.float64)
    total = _STEMS * words + _GRAMS * grams + _PHRASE * meaning[:, 0] + _LIST * meaning[:, 1]
    total += _FEEDBACK * _near_the_best(total, vectors)
    return [round(float(score), 4) for score in np.clip(total, 0, 1)]


def _near_the_best(scores: lexical.Scores, vectors: embedding.Vectors) -> lexical.Scores:
    """How close each document is to the best ones, the more the surer these are; nothing in a small collection."""
    best = np.argsort(-scores, kind="stable")[: int(FEEDBACK_SHARE * len(scores))]
    if not len(best):
        return np.zeros(len(scores))
    weights = scores[best]
    centre = embedding.normalised((weights[:, None] * vectors[best]).sum(axis=0).astype(np.float32))
    return np.asarray(weights.mean() * np.clip(vectors @ centre, 0, 1), np.float64)


def _share(documents: Sequence[lexical.Counts], terms: Sequence[str]) -> lexical.Scores:
    """BM25 of each document as a share of what one with all the terms would get, unknown terms included."""
    query: Mapping[str, float] = dict.fromkeys(terms, 1.0)
    ideal = 0.0
    for term in query:
        holding = sum(term in document for document in documents)
        ideal += math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
    return np.clip(lexical.bm25(documents, query) / max(ideal * _FULL, 1e-9), 0, 1)
