"""The documents that pass between the stages of the intelligence pipeline."""

import datetime
from typing import Annotated, Literal

import pydantic

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


class Source(Model):
    """A feed chosen for a topic, with the reason."""

    url: str
    title: str
    site: str = ""
    language: str = ""
    kind: Literal["rss"] = "rss"
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

    def summary(self) -> Summary:
        """How much was found."""
        return {"angles": len(self.angles), "words": len(self.words), "found": len(self.records)}


class Article(Model):
    """One entry of a feed as clean text. ``id`` is the same wherever and whenever the same entry is read again."""

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


class ArticleSet(Artifact):
    """The articles of one feed. ``entries`` counts what the feed holds, before any cap or filter."""

    source_url: str
    source_title: str
    format: str
    language: str = ""
    entries: int
    records: tuple[Article, ...]
    problems: tuple[str, ...] = ()

    def summary(self) -> Summary:
        """What the feed held and what was kept of it."""
        return {"entries": self.entries, "articles": len(self.records), "source": self.source_url[:500]}


class AnalysedArticle(Model):
    """An article with what the analysis says of it."""

    article: Article
    relevance: Share
    quality: Share
    category: str
    summary: str
    key_points: tuple[str, ...] = ()
    theme: int
    story: int = 0
    """Articles of one number tell the same story; it is never shared by two themes."""
    also: tuple[str, ...] = ()
    """Ids of articles that nearly repeat this one and were left out for it."""


LeftOutReason = Literal["irrelevant", "duplicate", "low_quality", "old", "language", "over_limit"]


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
    used: int


class AnalysedArticles(Artifact):
    """The articles worth reporting on, the best first, what was left out, and which feeds could not be read."""

    topic: str
    engine: str
    records: tuple[AnalysedArticle, ...]
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
            "failed_sources": len(self.failures),
        }


class Citation(Model):
    """A numbered piece of evidence: an article of this execution."""

    number: Annotated[int, pydantic.Field(ge=1)]
    article_id: str
    title: str
    url: str
    source_title: str
    published: datetime.datetime | None
    language: str


class Statement(Model):
    """A sentence of the report with the numbers of its citations."""

    text: str
    citations: Annotated[tuple[int, ...], pydantic.Field(min_length=1)]


class Story(Model):
    """One story as its leading article tells it; ``further`` cites the other articles that tell it."""

    title: str
    summary: str
    key_points: tuple[str, ...]
    category: str
    relevance: Share
    citation: int
    further: tuple[int, ...] = ()
    also: tuple[str, ...] = ()


class Theme(Model):
    """A group of stories that belong together."""

    title: str
    words: tuple[str, ...]
    stories: tuple[Story, ...]


class Report(Artifact):
    """What a client reads. Every citation number resolves to an entry of ``evidence``."""

    title: str
    topic: str
    created: datetime.datetime
    engine: str
    executive_summary: tuple[Statement, ...]
    themes: tuple[Theme, ...]
    evidence: tuple[Citation, ...]
    sources: tuple[ArticleSource, ...]
    left_out: tuple[LeftOut, ...]
    failures: tuple[ShardFailure, ...]
    method: str
    enough: bool
    """False when there was too little material to say anything about the topic."""

    def summary(self) -> Summary:
        """The size of the report."""
        return {
            "articles": len(self.evidence),
            "themes": len(self.themes),
            "sources": len(self.sources),
            "failed_sources": len(self.failures),
            "enough": self.enough,
        }
