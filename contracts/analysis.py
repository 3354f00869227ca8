"""What an analysis engine can do for a stage, whichever engine it is."""

from collections.abc import Sequence
from typing import Protocol

from contracts.model import Model


class Topic(Model):
    """What a client wants to know about: the phrase, words that belong to it, and other names of the same thing."""

    phrase: str
    words: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


class Assessment(Model):
    """How one text relates to a topic: relevance between 0 and 1, and whether it passes the yes/no cut."""

    relevance: float
    relevant: bool


class Analyst(Protocol):
    """An analysis engine. Every method leaves the event loop free and returns one result for each text, in order."""

    name: str

    async def assess(self, topic: Topic, texts: Sequence[str]) -> list[Assessment]:
        """Relevance of each text to the topic, judged within this collection."""
        ...

    async def rank(self, topic: Topic, documents: Sequence[str]) -> list[float]:
        """A score of each short document (a title with its tags) for the topic, by words and meaning, from 0 to 1."""
        ...

    async def categorise(self, texts: Sequence[str]) -> list[str]:
        """A category label of each text."""
        ...

    async def summarise(self, texts: Sequence[str], sentences: int) -> list[str]:
        """A summary of each text made of at most so many of its own sentences."""
        ...

    async def key_points(self, texts: Sequence[str], points: int) -> list[tuple[str, ...]]:
        """Up to so many short statements that carry each text."""
        ...

    async def duplicates(self, texts: Sequence[str]) -> list[int]:
        """For each text the index of the first text that it nearly repeats, its own where it repeats none."""
        ...

    async def stories(self, texts: Sequence[str]) -> list[int]:
        """For each text the number of the story that it tells, stories numbered from 0 by falling size."""
        ...

    async def themes(self, texts: Sequence[str]) -> list[int]:
        """For each text the number of the theme it belongs to, themes numbered from 0 by falling size."""
        ...
