"""Relevance of texts to a topic: by meaning, against rival subjects, and by the words they share."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumers.analysis import embedding, text
from contracts import analysis

Floats = npt.NDArray[np.float64]

RIVAL = 0.40
"""A background subject nearer to the topic than this is part of it and no rival."""

RELATIVES = 2
STRANGER = 0.20
"""Nor are the nearest two subjects rivals, which a narrow topic is usually a part of, unless even they are far away."""

CUT = 0.30
"""The weighed evidence from which a text may count as relevant; with the rules below precision is .91-.99 at recall
.57-.88 on labelled news."""

BEYOND_DOUBT = 0.45
"""Below this a text must also name the topic or use two of its words: vectors alone mistake surfing for climate."""

OVERWHELMING = 0.50
"""From here on a text is about the topic even if it is about another subject as well."""

STEEPNESS = 8.0
FEW = 8
"""Fewer sure texts than this are no sample of the topic: no feedback from them."""

FEW_SHARE = 0.1
"""With fewer than ``FEW`` and less than this share, a collection hardly covers the topic: rules are stricter."""

FEEDBACK_SHARE = 0.02
_SURE_COSINE = 0.25
_SURE_WORDS = 0.2
_WEIGHT_OF_MARGIN = 0.3
_WEIGHT_OF_WORDS = 0.2
_LEAST_MARGIN = -0.05
_ACRONYM = 3
_NOTHING = "  "
_UNSEEN = 200
"""Texts without any term of the topic that a collection is taken to have besides its own, lest a small one on the
topic make the topic's own words look common."""


class Evidence(NamedTuple):
    """What speaks for each text: shared words between 0 and 1, the topic named outright, and how many terms of it."""

    words: Floats
    named: npt.NDArray[np.bool_]
    terms: npt.NDArray[np.int64]


def query(topic: analysis.Topic) -> str:
    """The text whose vector stands for the topic: the phrase and its words, the largest gain that was measured."""
    return ", ".join([topic.phrase, *topic.words])


def shared_words(topic: analysis.Topic, texts: Sequence[str]) -> Evidence:
    """How far texts use the topic's own words, rare ones counting more and those of the first line twice."""
    terms_of = _terms(topic)
    acronyms = any(term.isupper() for term in terms_of)
    heads, bodies = [], []
    for body in texts:
        first, _, rest = body.partition("\n")
        heads.append(_vocabulary(first, acronyms))
        bodies.append(heads[-1] + _vocabulary(rest, acronyms).lstrip() if rest else heads[-1])
    total = np.zeros(len(texts))
    named = np.zeros(len(texts), dtype=bool)
    terms = np.zeros(len(texts), dtype=np.int64)
    size = len(texts) + _UNSEEN
    for term, (weight, is_name) in terms_of.items():
        inside = np.array([term in body for body in bodies], dtype=bool)
        holding = int(inside.sum())
        if holding:
            rarity = math.log((size + 1) / (holding + 0.5)) / math.log(size + 2)
            total += weight * max(0.0, rarity) * (inside + np.array([term in head for head in heads], dtype=float))
            terms += inside
            named |= inside & is_name
    return Evidence(np.tanh(total), named, terms)


def _terms(topic: analysis.Topic) -> dict[str, tuple[float, bool]]:
    """Each term as stems between spaces, with its weight and whether it is a name of the topic itself."""
    found: dict[str, tuple[float, bool]] = {}
    for name in (topic.phrase, *topic.names):
        found.setdefault(_term(name), (2.0, True))
    for word in topic.words:
        found.setdefault(_term(word), (1.0, False))
    for single in text.stems(topic.phrase):
        if len(single) > _ACRONYM:
            found.setdefault(f" {single} ", (0.5, False))
    found.pop(_NOTHING, None)
    return found


def _vocabulary(body: str, acronyms: bool) -> str:
    """The stems of a text in their order, then its acronyms if they are asked for, each between spaces."""
    return f" {' '.join((*text.stems(body), *(sorted(text.acronyms(body)) if acronyms else ())))} "


def _term(phrase: str) -> str:
    """The stems that must stand in a text one after the other; a very short name must stand there in capitals."""
    letters = phrase.replace(".", "")
    if len(letters) <= _ACRONYM and letters.isascii() and letters.isalpha():
        return f" {letters.upper()} "
    return f" {' '.join(text.stems(phrase))} "


def judge(
    texts: embedding.Vectors, topic: embedding.Vectors, subjects: embedding.Vectors, evidence: Evidence
) -> list[analysis.Assessment]:
    """An assessment of each text from centred unit vectors of the texts, the topic and the background subjects."""
    near = (texts @ topic).astype(np.float64)
    kinship = subjects @ topic
    related = np.sort(kinship)[-min(RELATIVES, len(kinship)) :]
    rivals = subjects[(kinship < RIVAL) & ((kinship < related.min(initial=RIVAL)) | (kinship < STRANGER))]
    margin = near - (texts @ rivals.T).max(axis=1) if len(rivals) else near
    sure = np.flatnonzero((margin > 0) & (near > _SURE_COSINE) & (evidence.words > _SURE_WORDS))
    weighed = _with_feedback(texts, topic, near, sure) + _WEIGHT_OF_MARGIN * margin + _WEIGHT_OF_WORDS * evidence.words
    worded = evidence.named | (evidence.terms >= 2)
    relevant = (
        (weighed >= CUT)
        & ((margin >= _LEAST_MARGIN) | (weighed >= OVERWHELMING))
        & (worded | (weighed >= BEYOND_DOUBT))
    )
    if len(sure) < min(FEW, FEW_SHARE * len(near)):
        relevant &= evidence.named | (worded & (margin > 0) & (near > _SURE_COSINE))
    scores = 1 / (1 + np.exp(-STEEPNESS * (weighed - CUT)))
    return [
        analysis.Assessment(relevance=round(float(score), 4), relevant=bool(passed))
        for score, passed in zip(scores, relevant, strict=True)
    ]


def _with_feedback(
    texts: embedding.Vectors, topic: embedding.Vectors, near: Floats, sure: npt.NDArray[np.int64]
) -> Floats:
    """Nearness to the topic moved halfway to the centroid of the surest texts, where there are enough of them."""
    if len(sure) < FEW:
        return near
    best = sure[np.argsort(-near[sure], kind="stable")[: max(FEW, int(FEEDBACK_SHARE * len(near)))]]
    centroid = embedding.normalised(texts[best].mean(axis=0))
    return np.asarray(texts @ embedding.normalised(topic + centroid), np.float64)
