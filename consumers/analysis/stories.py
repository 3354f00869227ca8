"""Stories that go on: texts join a story that is known or begin one, batch by batch, and a trace carries each story on.

Texts and known stories are clustered together by average link; a trace holds the means over a story's texts, from which
the average similarity to all of them follows without the texts. Known stories are never joined with each other.
"""

import base64
import binascii
import collections
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from consumers.analysis import clusters, embedding
from contracts import analysis
from contracts.errors import FactoryError

Floats = npt.NDArray[np.float64]

SAME_STORY = 0.18
"""The average similarity, as two headlines would have it, from which texts tell one story."""

SHARE_OF_WORDS = 0.5

HEADLINE = 8
HALF_LENGTH = 80
"""A text of so many saying words carries half of its story. What short texts leave out attenuates their similarity
(Spearman 1904): two headlines are less alike than the same with a sentence each, and need less to be one story."""

OF_ONE_TOPIC = 1.15
"""By how much more alike articles must be than headlines: they come selected for a topic, which makes strangers alike,
and a story that hides in another's is a worse mistake than one that is told twice."""

BATCH = 500
"""At most so many texts are clustered at a time; more go through in turn."""

_STEADYING_TEXTS = 50
_STEADYING_PAIRS = 100
"""A small batch says little of how common a word is, or of what its order tells; it counts beside so many of none."""

WORDS_KEPT = 80
LONGEST_WORD = 24
"""Characters of a word that are compared; with these bounds a trace stays below 4 KiB in most scripts."""

_SILENCE = np.dtype("<u4")
_VECTOR = np.dtype("<f2")


class Texts(NamedTuple):
    """What is compared of some texts: centred unit vectors, the distinct words, and the scale of each."""

    vectors: embedding.Vectors
    words: Sequence[Collection[str]]
    scales: Floats


class Story(NamedTuple):
    """A story as it stands: ``vector`` is the mean of its texts' corrected vectors, ``words`` the share that hold each.

    ``silence`` counts the texts that have come since the last one that joined.
    """

    texts: int
    vector: embedding.Vectors
    words: Mapping[str, float]
    silence: int


def follow(engine: str, texts: Texts, known: Sequence[analysis.StoryTrace]) -> analysis.Stories:
    """The story of each text, in order of arrival.

    A trace of another engine is handed on unchanged and nothing joins it. Raises FactoryError for one of this engine
    that cannot be read.
    """
    traces: list[analysis.StoryTrace | None] = list(known)
    size = texts.vectors.shape[1]
    told = {number: _read(trace, size) for number, trace in enumerate(known) if trace.engine == engine}
    numbers: list[int] = []
    for start in range(0, len(texts.words), BATCH):
        batch = slice(start, start + BATCH)
        scales = texts.scales[batch]
        corrected = Texts((texts.vectors[batch] * scales[:, None]).astype(np.float32), texts.words[batch], scales)
        numbers += _join(corrected, told, len(traces))
        traces += [None] * (max(numbers) + 1 - len(traces))
    return analysis.Stories(
        numbers=tuple(numbers),
        traces=tuple(
            trace if trace is not None and trace.engine != engine else _trace(engine, told[number])
            for number, trace in enumerate(traces)
        ),
    )


def _join(texts: Texts, told: dict[int, Story], new_from: int) -> list[int]:
    """The number of each text's story; ``told`` is brought up to date, new stories are numbered from ``new_from``."""
    order = list(told)
    similarity = _similarity(texts, [told[number] for number in order])
    near = np.flatnonzero((similarity[: len(order)] >= SAME_STORY).any(axis=1))
    rows = np.concatenate([near, np.arange(len(order), len(similarity))])
    square = np.full((len(rows), len(rows)), -np.inf)
    square[:, len(near) :] = similarity[rows]
    square[len(near) :, : len(near)] = similarity[near].T
    sizes = [told[order[row]].texts for row in near] + [1] * len(texts.words)
    labels = clusters.average_link(square, SAME_STORY, sizes)
    stories = {labels[place]: order[row] for place, row in enumerate(near)}
    numbers = []
    for label in labels[len(near) :]:
        stories.setdefault(label, new_from + len(stories) - len(near))
        numbers.append(stories[label])
    _bring_up_to_date(told, numbers, texts)
    return numbers


def scale(words: int, *, article: bool) -> float:
    """What the vector of a text of so many saying words is multiplied by, to compare as that of a headline would."""
    length = (1 + HALF_LENGTH / max(1, words)) / (1 + HALF_LENGTH / HEADLINE)
    return math.sqrt(length / OF_ONE_TOPIC if article else length)


def _similarity(texts: Texts, told: Sequence[Story]) -> Floats:
    """The similarity of each known story and then of each text to every text, with what their order tells."""
    terms = {term: column for column, term in enumerate(sorted(set(itertools.chain.from_iterable(texts.words))))}
    held = _table([dict.fromkeys(found, 1.0) for found in texts.words], terms)
    shares = _table([story.words for story in told], terms)
    rarity = _rarity(held, shares, [story.texts for story in told])
    lengths = np.sqrt(held @ rarity**2)
    worded = lengths > 0
    weight = np.divide(texts.scales, lengths, out=np.zeros(len(lengths)), where=worded)
    held *= rarity * weight[:, None]
    # What comes together is alike in length, so that the mean weight of these texts serves for a story's earlier ones.
    shares *= rarity * (weight[worded].mean() if worded.any() else 0.0)
    centroids = np.reshape([story.vector for story in told], (len(told), texts.vectors.shape[1]))
    by_words = np.concatenate([shares, held]) @ held.T
    by_meaning = np.concatenate([centroids, texts.vectors]) @ texts.vectors.T
    mixed = SHARE_OF_WORDS * by_words + (1 - SHARE_OF_WORDS) * by_meaning
    return mixed + _told_by_order(mixed[len(told) :], [story.silence for story in told])


def _table(rows: Sequence[Mapping[str, float]], terms: Mapping[str, int]) -> Floats:
    """A row for each mapping with the values of those of its words that are terms."""
    table = np.zeros((len(rows), len(terms)))
    for row, values in enumerate(rows):
        for word, value in values.items():
            if word in terms:
                table[row, terms[word]] = value
    return table


def _rarity(texts: Floats, stories: Floats, sizes: Sequence[int]) -> Floats:
    """Smoothed IDF over the texts of a batch and all that came before them."""
    weights = np.array(sizes, np.float64)
    holding = texts.sum(axis=0) + weights @ stories
    return np.asarray(np.log((1 + len(texts) + weights.sum() + _STEADYING_TEXTS) / (1 + holding)) + 1)


def _told_by_order(similarity: Floats, silences: Sequence[int]) -> Floats:
    """By how much texts so far apart in the order of arrival are more alike than any two, for stories and texts.

    Where the order tells nothing, as in a ranking or a shuffle, this is nothing; where news come in bursts, what comes
    together is likelier to be one story, and a story that was silent for long is less likely to go on.
    """
    size = len(similarity)
    left, right = np.triu_indices(size, 1)
    excess = similarity[left, right] - (similarity[left, right].mean() if len(left) else 0.0)
    steps = _step(right - left)
    length = int(_step(np.array([size])).max()) + 1
    sums = np.bincount(steps, weights=excess, minlength=length)
    profile = sums / (np.bincount(steps, minlength=length) + _STEADYING_PAIRS)
    profile = profile[: max(1, int(steps.max(initial=0)) + 1)]
    places = np.concatenate([-1 - np.array(silences, np.float64), np.arange(size)])
    distance = np.abs(places[:, None] - np.arange(size))
    return profile[np.minimum(_step(distance), len(profile) - 1)]


def _step(distance: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Distances in steps of doubling: 1, 2 to 3, 4 to 7 and so on."""
    return np.asarray(np.log2(np.maximum(1, distance)), np.int64)


def _bring_up_to_date(told: dict[int, Story], numbers: Sequence[int], texts: Texts) -> None:
    members: dict[int, list[int]] = {}
    for row, number in enumerate(numbers):
        members.setdefault(number, []).append(row)
    for number, story in told.items():
        if number not in members:
            told[number] = story._replace(silence=story.silence + len(numbers))
    for number, rows in members.items():
        before = told.get(number, Story(0, np.zeros(texts.vectors.shape[1], np.float32), {}, 0))
        size = before.texts + len(rows)
        held = collections.Counter({word: share * before.texts for word, share in before.words.items()})
        for row in rows:
            held.update(texts.words[row])
        vector = (before.vector * before.texts + texts.vectors[rows].sum(axis=0)) / size
        heaviest = sorted(held.items(), key=lambda item: (-item[1], item[0]))[:WORDS_KEPT]
        told[number] = Story(
            size,
            np.asarray(vector, np.float32),
            {word: count / size for word, count in heaviest},
            len(numbers) - 1 - rows[-1],
        )


def _trace(engine: str, story: Story) -> analysis.StoryTrace:
    content = story.vector.astype(_VECTOR).tobytes() + np.array(story.silence, _SILENCE).tobytes()
    return analysis.StoryTrace(
        engine=engine,
        texts=story.texts,
        vector=base64.b64encode(content).decode("ascii"),
        words={word: round(share, 4) for word, share in story.words.items()},
    )


def _read(trace: analysis.StoryTrace, dimensions: int) -> Story:
    try:
        content = base64.b64decode(trace.vector, validate=True)
    except binascii.Error as error:
        raise FactoryError(f"a story's trace by {trace.engine} has a vector that is not base64: {error}") from error
    expected = dimensions * _VECTOR.itemsize + _SILENCE.itemsize
    if len(content) != expected:
        raise FactoryError(f"a story's trace by {trace.engine} holds {len(content)} bytes instead of {expected}")
    vector = np.frombuffer(content[: -_SILENCE.itemsize], _VECTOR).astype(np.float32)
    (silence,) = np.frombuffer(content[-_SILENCE.itemsize :], _SILENCE)
    return Story(trace.texts, vector, trace.words, int(silence))
