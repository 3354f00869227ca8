"""The documents that pass between the stages of the intelligence pipeline."""

import datetime
from collections.abc import Mapping
from typing import Annotated, Literal

import pydantic

from contracts.analysis import Made, StoryTrace
from contracts.memory import PastReport
from contracts.messages import ShardFailure
from contracts.model import Artifact, Model, Summary

Share = Annotated[float, pydantic.Field(ge=0, le=1)]


class CatalogueEntry(Model):
    """A feed that the factory knows of. ``topics`` are paths such as ``programming/python``."""

    url: str
    title: str
    site: str = ""
    language: str = ""
    topics: tuple[str, ...] = ()


class Catalogue(Artifact):
    """All feeds that the librarian may choose from."""

    records: tuple[CatalogueEntry, ...]


SourceKind = Literal["rss", "youtube", "podcast", "academic", "social"]


class Directory(Model):
    """How the JSON that a directory answers names its entries: the list, and the fields of one entry."""

    items: str
    url: str
    title: str
    site: str


class Platform(Model):
    """A platform that can be asked for a topic without a key.

    ``search`` is a URL in which ``{query}`` stands for the topic and ``{tag}`` for the topic as one word. Without
    a ``directory`` its answer is a feed; with one it lists feeds. ``suits`` are kinds of topics, all if it is empty.
    """

    name: str
    kind: SourceKind
    search: str
    quality: Share
    note: str
    suits: tuple[str, ...] = ()
    directory: Directory | None = None


class Platforms(Artifact):
    """All platforms that the researcher may ask."""

    records: tuple[Platform, ...]


class Source(Model):
    """A feed chosen for a topic, with the reason. ``platform`` is empty for a site of the publisher's own."""

    url: str
    title: str
    site: str = ""
    language: str = ""
    kind: SourceKind = "rss"
    platform: str = ""
    topics: tuple[str, ...] = ()
    relevance: Share
    quality: Share
    score: Share
    reason: str


class SourceList(Artifact):
    """Feeds for a topic, the best first. ``considered`` is the size of the catalogue they were chosen from."""

    topic: str
    records: tuple[Source, ...]
    considered: int

    def summary(self) -> Summary:
        """How many were found, and how good they are."""
        scores = [source.score for source in self.records]
        mean = round(sum(scores) / len(scores), 4) if scores else 0.0
        return {"found": len(self.records), "considered": self.considered, "mean_score": mean}


class Angle(Model):
    """One way of looking at a topic, with the phrases to look for."""

    title: str
    question: str
    queries: tuple[str, ...]


class ResearchPlan(Artifact):
    """Angles of a topic, the words that belong to it, and further sources that they lead to."""

    topic: str
    angles: tuple[Angle, ...]
    words: tuple[str, ...]
    records: tuple[Source, ...]
    made: Made | None = None

    def summary(self) -> Summary:
        """How much was found."""
        return {"angles": len(self.angles), "words": len(self.words), "found": len(self.records)}


class Article(Model):
    """One entry of a feed as clean text. ``id`` is the same wherever and whenever the same entry is read again.

    ``text_from`` says whether the feed itself held the text, or the article's page did; then ``text_method`` found it,
    and ``text_confidence`` is the share of the feed's words about the article that are in it.
    """

    id: str
    url: str
    title: str
    text: str
    language: str = ""
    published: datetime.datetime | None = None
    published_from: Literal["published", "updated", "text", "url", "none"] = "none"
    authors: tuple[str, ...] = ()
    source_url: str
    source_title: str
    site: str
    """The host that it comes from, without ``www.``."""
    fingerprint: str = ""
    """The same for as long as the feed tells it in the same words, whatever their markup, spacing and punctuation: a
    known id with another one is a revision of the article. Empty where it was not told."""
    text_from: Literal["feed", "page"] = "feed"
    text_method: str = ""
    text_confidence: Share = 1.0


class ArticleSet(Artifact):
    """The articles of one feed. ``entries`` counts what the feed holds, before any cap or filter.

    ``address`` is where the feed is now if it has moved for good; ``source_url`` stays the name by which it is known.
    """

    source_url: str
    source_title: str
    address: str = ""
    format: str
    language: str = ""
    entries: int
    records: tuple[Article, ...]
    problems: tuple[str, ...] = ()

    def summary(self) -> Summary:
        """What the feed held and what was kept of it."""
        return {"entries": self.entries, "articles": len(self.records), "source": self.source_url[:500]}


class Scores(Model):
    """What speaks for an article, each between 0 and 1; ``total`` is what articles are chosen by."""

    relevance: Share
    quality: Share
    freshness: Share
    independence: Share
    """How many independent sites tell its story: 0 for one alone, rising towards 1."""
    total: Share


class AnalysedArticle(Model):
    """An article with what the analysis says of it, and why it was chosen."""

    article: Article
    scores: Scores
    category: str
    theme: int
    story: int
    """Which of the set's stories it tells; a story is never shared by two themes."""
    also: tuple[str, ...] = ()
    """Ids of articles that nearly repeat this one and were left out for it."""
    why: str = ""


class ToldStory(Model):
    """A story that articles of the set tell. ``id`` stays the same in later executions of the client."""

    id: str
    trace: StoryTrace
    began: datetime.datetime
    known: bool
    """Whether an earlier execution of the client told it."""
    sites: Annotated[int, pydantic.Field(ge=1)]
    """How many independent sites tell it, those included whose articles were left out."""


LeftOutReason = Literal["irrelevant", "duplicate", "low_quality", "old", "language", "quota", "over_limit"]


class LeftOut(Model):
    """An article that is not used, and why."""

    id: str
    title: str
    url: str
    source_title: str
    reason: LeftOutReason
    detail: str = ""


class ArticleSource(Model):
    """A feed that was read, with its yield."""

    url: str
    title: str
    language: str
    format: str
    entries: int
    articles: int
    relevant: int
    duplicates: int
    used: int


class AnalysedArticles(Artifact):
    """The articles worth reporting on, the best first, what was left out, and which feeds could not be read.

    ``past`` are the client's earlier reports on the subject, the newest first.
    """

    topic: str
    subject: str
    made: tuple[Made, ...]
    """How the articles were judged, and before it the plan that sharpened the topic, if there was one."""
    records: tuple[AnalysedArticle, ...]
    stories: tuple[ToldStory, ...]
    past: tuple[PastReport, ...]
    limits: Mapping[str, int]
    """How many articles one site, one language and one region were allowed."""
    left_out: tuple[LeftOut, ...]
    sources: tuple[ArticleSource, ...]
    failures: tuple[ShardFailure, ...]

    def summary(self) -> Summary:
        """How many articles came in, and what became of them."""
        reasons = [item.reason for item in self.left_out]
        return {
            "articles": len(self.records) + len(self.left_out),
            "relevant": len(self.records),
            "duplicates": reasons.count("duplicate"),
            "stories": len(self.stories),
            "failed_sources": len(self.failures),
        }
