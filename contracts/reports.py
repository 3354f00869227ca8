"""What a client reads: the report, its evidence, and the check of its citations."""

import datetime
from typing import Annotated, Literal

import pydantic

from contracts.analysis import Made
from contracts.artifacts import ArticleSource, LeftOut, Share
from contracts.messages import ShardFailure
from contracts.model import Artifact, Model, Summary


class Citation(Model):
    """A numbered piece of evidence: an article of this execution."""

    number: Annotated[int, pydantic.Field(ge=1)]
    article_id: str
    title: str
    url: str
    source_title: str
    site: str
    published: datetime.datetime | None
    language: str
    revised: bool = False
    """Whether its text has changed since an earlier report cited it."""


class Statement(Model):
    """A sentence of the report with the numbers of its citations."""

    text: str
    citations: Annotated[tuple[int, ...], pydantic.Field(min_length=1)]


News = Literal["first", "new", "updated", "known"]
"""Of a story: there was no report to compare with; it is new; it was told with less; it was told as it is."""


class Story(Model):
    """One story: what happened, why it matters, where its sources differ; its own article first, then all others."""

    id: str
    title: str
    news: News
    happened: Annotated[tuple[Statement, ...], pydantic.Field(min_length=1)]
    matters: Statement | None = None
    differences: tuple[Statement, ...] = ()
    category: str
    relevance: Share
    citation: int
    further: tuple[int, ...] = ()
    also: tuple[str, ...] = ()
    sites: int


class Theme(Model):
    """A group of stories that belong together."""

    title: str
    words: tuple[str, ...]
    stories: tuple[Story, ...]


class Since(Model):
    """What has changed since the client's last report on the subject."""

    told_at: datetime.datetime
    new: tuple[str, ...]
    updated: tuple[str, ...]
    known: tuple[str, ...]
    """Ids of stories of this report."""
    quiet: tuple[str, ...]
    """Titles of stories of the last report of which nothing was found this time."""


class Trend(Model):
    """How many articles one category has now, and had in the client's earlier reports, the oldest first."""

    name: str
    articles: int
    sites: int
    before: tuple[int, ...]


class Day(Model):
    """How many of the report's articles appeared on one day."""

    day: datetime.date
    articles: int


class Trends(Model):
    """Counts over time. ``reports`` are when the earlier reports were told, the oldest first."""

    reports: tuple[datetime.datetime, ...]
    categories: tuple[Trend, ...]
    days: tuple[Day, ...]


class Claim(Model):
    """A cited sentence and how far its evidence bears it, between 0 and 1; ``missing`` is what no evidence holds."""

    text: str
    citations: tuple[int, ...]
    support: Share
    supported: bool
    missing: tuple[str, ...] = ()


class CitationCheck(Model):
    """What came of checking each cited sentence against its evidence; ``threshold`` is the least share supported."""

    claims: tuple[Claim, ...]
    unresolved: tuple[str, ...]
    """Citations that name no evidence, as they are written, such as ``[99]``."""
    uncited: tuple[str, ...]
    """Sentences that state a fact and cite nothing."""
    share: Share
    """Of the cited sentences, those that their evidence bears."""
    threshold: Share
    quoted: bool = False
    """Whether sentences were replaced by quotations because too few were borne out."""


class Report(Artifact):
    """What a client reads. Every citation number resolves to an entry of ``evidence``."""

    title: str
    topic: str
    about: str
    created: datetime.datetime
    made: tuple[Made, ...]
    executive_summary: tuple[Statement, ...]
    since: Since | None
    themes: tuple[Theme, ...]
    trends: Trends
    evidence: tuple[Citation, ...]
    sources: tuple[ArticleSource, ...]
    left_out: tuple[LeftOut, ...]
    failures: tuple[ShardFailure, ...]
    method: str
    enough: bool
    """False when there was too little material to say anything about the topic."""
    check: CitationCheck | None = None

    @property
    def cost(self) -> int:
        """What models cost for it, in millionths of a US dollar."""
        return sum(use.cost for made in self.made for use in made.models)

    def summary(self) -> Summary:
        """The size of the report."""
        stories = [story for theme in self.themes for story in theme.stories]
        found: Summary = {
            "articles": len(self.evidence),
            "themes": len(self.themes),
            "stories": len(stories),
            "new_stories": sum(story.news == "new" for story in stories),
            "sources": len(self.sources),
            "failed_sources": len(self.failures),
            "enough": self.enough,
            "degraded": any(made.degraded for made in self.made),
        }
        return found if self.check is None else found | {"citations_supported": self.check.share}
