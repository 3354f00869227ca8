"""The local analysis engine: everything that a stage may ask, computed here, without a key or a network."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from consumers.analysis import (
    clusters,
    duplicates,
    embedding,
    lexical,
    ranking,
    relevance,
    stories,
    subjects,
    summaries,
    support,
    telling,
    text,
)
from contracts import analysis

T = TypeVar("T")

EMBEDDED_CHARACTERS = 1200
"""What a news text is about stands at its beginning; the rest costs time and adds noise."""

SAME_THEME = 0.10
"""The average similarity, of words by .3 and meaning by .7, from which texts belong to one theme."""

_PRIOR = 30
_PRIOR_OF_NEWS = 120
"""A small collection's own mean is its topic, so the subjects' mean stands in for what all news has in common: little
where texts on one topic are told apart, much where they are judged by that topic."""

_SHARE_OF_WORDS = np.float32(0.3)
_MATRIX_LIMIT = 4000
SAME_THEME_IN_ONE_PASS = 0.14
"""More texts than the limit are clustered in one pass, at this nearness to a centroid instead."""


class LocalAnalyst:
    """The engine over an embedder, which it holds; all work is done in a thread. Equal input gives equal output."""

    def __init__(self, embedder: embedding.Embedder) -> None:
        self.name = f"local ({embedder.name})"
        self._embedder = embedder
        described = [f"{subject.name}, {subject.words}" for subject in subjects.load()]
        self._subjects = embedding.normalised(embedder.embed(described))

    def made(self) -> analysis.Made:
        """This engine alone: it asks no model, so it costs nothing and is never degraded."""
        return analysis.Made(engine=self.name)

    async def words(self, phrase: str) -> tuple[str, ...]:
        """None: the nearest words in embedding space make rankings worse than the phrase alone."""
        return ()

    async def assess(self, topic: analysis.Topic, texts: Sequence[str]) -> list[analysis.Assessment]:
        """Relevance of each text to the topic, judged within this collection."""
        return await _in_thread(lambda: self._assess(topic, texts)) if texts else []

    async def rank(self, topic: analysis.Topic, documents: Sequence[str]) -> list[float]:
        """A score between 0 and 1 of each short document for the topic, by words and by meaning."""
        return await _in_thread(lambda: self._rank(topic, documents)) if documents else []

    async def categorise(self, texts: Sequence[str]) -> list[str]:
        """The category of the nearest of the background subjects."""
        return await _in_thread(lambda: self._categorise(texts))

    async def summarise(self, texts: Sequence[str], sentences: int) -> list[str]:
        """A summary of each text made of at most so many of its own sentences."""
        return await _in_thread(lambda: [summaries.summary(body, sentences) for body in texts])

    async def duplicates(self, texts: Sequence[str]) -> list[int]:
        """For each text the index of the first text that it nearly repeats, its own where it repeats none."""
        return await _in_thread(lambda: duplicates.repeats(texts))

    async def stories(self, texts: Sequence[str], known: Sequence[analysis.StoryTrace] = ()) -> analysis.Stories:
        """The story that each text tells by its title and first sentence: one that is known, or one that begins."""
        return await _in_thread(lambda: self._stories(texts, known))

    async def themes(self, texts: Sequence[str]) -> list[int]:
        """For each text the number of its theme, themes numbered from 0 by falling size."""
        return await _in_thread(lambda: self._clusters(texts))

    async def tell(
        self, topic: analysis.Topic, stories: Sequence[Sequence[analysis.Evidence]]
    ) -> list[analysis.Telling]:
        """Each story in sentences quoted from its evidence."""
        return await _in_thread(lambda: [telling.tell(story) for story in stories])

    async def brief(
        self, topic: analysis.Topic, tellings: Sequence[analysis.Telling], sentences: int
    ) -> tuple[analysis.Told, ...]:
        """The sentences of the tellings that stand alone, one of each story before a second one of any."""
        return telling.brief(tellings, sentences)

    async def support(self, claims: Sequence[str], evidence: Sequence[Sequence[str]]) -> list[analysis.Support]:
        """How far each sentence is borne by its evidence: its names, its numbers and its meaning."""
        return await _in_thread(lambda: support.judge(claims, evidence, self._embedder))

    def _vectors(self, texts: Sequence[str]) -> embedding.Vectors:
        return embedding.normalised(self._embedder.embed([body[:EMBEDDED_CHARACTERS] for body in texts]))

    def _assess(self, topic: analysis.Topic, texts: Sequence[str]) -> list[analysis.Assessment]:
        vectors = self._vectors(texts)
        mean = _mean(vectors, self._subjects, _PRIOR_OF_NEWS)
        wanted = embedding.centred(self._vectors([relevance.query(topic)]), mean)[0]
        return relevance.judge(
            embedding.centred(vectors, mean),
            wanted,
            embedding.centred(self._subjects, mean),
            relevance.shared_words(topic, [body[:EMBEDDED_CHARACTERS] for body in texts]),
        )

    def _rank(self, topic: analysis.Topic, documents: Sequence[str]) -> list[float]:
        vectors = self._vectors(documents)
        mean = _mean(vectors, self._subjects, _PRIOR)
        queries = embedding.centred(self._vectors([topic.phrase, relevance.query(topic)]), mean)
        return ranking.scores(topic, documents, embedding.centred(vectors, mean), queries)

    def _categorise(self, texts: Sequence[str]) -> list[str]:
        mean = np.asarray(self._subjects.mean(axis=0), np.float32)
        near = embedding.centred(self._vectors(texts), mean) @ embedding.centred(self._subjects, mean).T
        known = subjects.load()
        return [known[int(best)].category for best in near.argmax(axis=1)]

    def _stories(self, texts: Sequence[str], known: Sequence[analysis.StoryTrace]) -> analysis.Stories:
        # A batch may be a single story, so that its own mean tells nothing of what all news has in common.
        mean = np.asarray(self._subjects.mean(axis=0), np.float32)
        beginnings = [_beginning(body) for body in texts]
        stems = [[stem[: stories.LONGEST_WORD] for stem in text.stems(body)] for body in beginnings]
        scales = [
            stories.scale(len(found), article="\n" in body.strip()) for found, body in zip(stems, texts, strict=True)
        ]
        compared = stories.Texts(
            embedding.centred(self._vectors(beginnings), mean),
            [sorted(set(found)) for found in stems],
            np.array(scales),
        )
        return stories.follow(self.name, compared, known)

    def _clusters(self, texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        vectors = self._vectors(texts)
        vectors = embedding.centred(vectors, _mean(vectors, self._subjects, _PRIOR))
        if len(texts) > _MATRIX_LIMIT:
            return clusters.one_pass(vectors, SAME_THEME_IN_ONE_PASS)
        words = lexical.tfidf(lexical.counted(text.stems(body[:EMBEDDED_CHARACTERS]) for body in texts))
        meaning = vectors @ vectors.T
        mixed = _SHARE_OF_WORDS * lexical.similarities(words) + (1 - _SHARE_OF_WORDS) * meaning
        return clusters.average_link(mixed, SAME_THEME)


def packaged() -> LocalAnalyst:
    """The engine with the weights of the installed package; takes a fraction of a second."""
    return LocalAnalyst(embedding.packaged())


def _beginning(body: str) -> str:
    title, _, rest = body.partition("\n")
    return f"{title}\n{summaries.summary(rest, 1)}"


def _mean(vectors: embedding.Vectors, subjects_: embedding.Vectors, weight: int) -> embedding.Vectors:
    """The mean of a collection, steadied by that of the subjects, which counts as so many texts more."""
    return np.asarray((vectors.sum(axis=0) + weight * subjects_.mean(axis=0)) / (len(vectors) + weight), np.float32)


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.to_thread(work)
