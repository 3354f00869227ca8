"""What an analysis engine can do for a stage, whichever engine it is."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Annotated, Protocol

import pydantic

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


class StoryTrace(Model):
    """What is remembered of a story so that later texts can join it, of at most 4 KiB; only the engine reads it.

    ``engine`` names what made it: another engine cannot compare with it. ``texts`` is how many have joined so far.
    """

    engine: str
    texts: int
    vector: str
    words: Mapping[str, float]


class Stories(Model):
    """Which story each text tells.

    ``numbers`` has one entry for each text, in order: an index into ``traces``. The traces begin with those that were
    known, in their order and brought up to date, and go on with one for each story that is new.
    """

    numbers: tuple[int, ...]
    traces: tuple[StoryTrace, ...]


class Evidence(Model):
    """A text that may be cited by its id."""

    id: str
    title: str
    text: str
    source: str
    site: str
    language: str = ""
    published: datetime.datetime | None = None


class Told(Model):
    """A sentence with the ids of the evidence that bears it."""

    text: str
    evidence: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]


class Telling(Model):
    """One story as readers get it: what happened, why it matters, and where its sources differ."""

    title: str
    happened: tuple[Told, ...]
    matters: Told | None = None
    differences: tuple[Told, ...] = ()


class Support(Model):
    """How far evidence bears a sentence, between 0 and 1, and which of its names and numbers no evidence holds."""

    support: float
    supported: bool
    missing: tuple[str, ...] = ()


class ModelUse(Model):
    """What one model did for a result; ``cost`` is in millionths of a US dollar, ``cached`` answers cost nothing."""

    model: str
    prompts: tuple[str, ...]
    """Names of the prompts with their versions, such as ``relevance/2``."""
    calls: int = 0
    cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0


class Made(Model):
    """How a result was made: the engine, the models it asked, and why the result is less than was asked for, if so."""

    engine: str
    models: tuple[ModelUse, ...] = ()
    degraded: tuple[str, ...] = ()


class Analyst(Protocol):
    """An analysis engine. Every method leaves the event loop free and returns one result for each text, in order."""

    name: str

    def made(self) -> Made:
        """How everything was made that this engine was asked for so far, in this attempt at a task."""
        ...

    async def words(self, phrase: str) -> tuple[str, ...]:
        """Words that belong to a topic which no lexicon knows; none where the engine cannot tell."""
        ...

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

    async def duplicates(self, texts: Sequence[str]) -> list[int]:
        """For each text the index of the first text that it nearly repeats, its own where it repeats none."""
        ...

    async def stories(self, texts: Sequence[str], known: Sequence[StoryTrace] = ()) -> Stories:
        """The story that each text tells, taken in their order: one that is known, or one that begins with a text."""
        ...

    async def themes(self, texts: Sequence[str]) -> list[int]:
        """For each text the number of the theme it belongs to, themes numbered from 0 by falling size."""
        ...

    async def tell(self, topic: Topic, stories: Sequence[Sequence[Evidence]]) -> list[Telling]:
        """Each story told from its evidence and from nothing else; the first evidence of a story leads."""
        ...

    async def brief(self, topic: Topic, tellings: Sequence[Telling], sentences: int) -> tuple[Told, ...]:
        """At most so many sentences that sum up the stories, the weightiest first, each with its evidence."""
        ...

    async def support(self, claims: Sequence[str], evidence: Sequence[Sequence[str]]) -> list[Support]:
        """How far each sentence is borne by its evidence: its names, its numbers and its meaning."""
        ...
