"""What the executions of a client leave for its later ones."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Protocol

import pydantic

from contracts.analysis import StoryTrace
from contracts.model import Model


class KnownStory(Model):
    """A story that was told before, under any subject; ``id`` stays the same for as long as the story goes on."""

    id: str
    title: str
    trace: StoryTrace
    began: datetime.datetime
    latest: datetime.datetime


class ToldArticle(Model):
    """An article that a report cited, with the fingerprint that its text had then."""

    id: str
    fingerprint: str
    story: str


class PastReport(Model):
    """What a report told: its articles by category in ``counts``, and from how many independent ``sites``."""

    told_at: datetime.datetime
    articles: tuple[ToldArticle, ...]
    counts: Mapping[str, int]
    sites: int
    titles: Mapping[str, str] = pydantic.Field(default_factory=dict)
    """The title of each story by its id."""


class SourceYield(Model):
    """What one execution got out of a source; ``error`` is empty where it could be read."""

    url: str
    articles: int = 0
    relevant: int = 0
    duplicates: int = 0
    used: int = 0
    error: str = ""


class SourceHistory(Model):
    """What earlier executions got out of a source, added up."""

    runs: int
    failures: int
    articles: int
    relevant: int
    duplicates: int
    used: int


class Recollection(Model):
    """What is known before an execution tells anything: stories, and reports on its subject, the newest first."""

    stories: tuple[KnownStory, ...] = ()
    reports: tuple[PastReport, ...] = ()


class Memory(Protocol):
    """The memory of the client that the task is done for.

    What this execution keeps is not recalled by its own later attempts, so that each of them sees the same past.
    """

    async def recall(self, subject: str) -> Recollection:
        """What other executions of the client kept; reports are those on this subject."""
        ...

    async def sources(self) -> Mapping[str, SourceHistory]:
        """What other executions of the client got out of each source, by its URL."""
        ...

    async def keep(
        self,
        subject: str,
        report: PastReport,
        stories: Sequence[KnownStory],
        sources: Sequence[SourceYield],
    ) -> None:
        """Leaves this for later executions, in the place of what this execution kept before."""
        ...
