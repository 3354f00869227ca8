"""The stages of the intelligence pipeline: what each takes, gives and needs."""

from typing import Annotated, Generic, Literal, TypeVar

import pydantic

from contracts import stages
from contracts.artifacts import (
    AnalysedArticles,
    ArticleSet,
    Catalogue,
    Platforms,
    ResearchPlan,
    Source,
    SourceKind,
    SourceList,
)
from contracts.messages import ShardFailure
from contracts.model import Model
from contracts.reports import Report

T = TypeVar("T")

Topic = Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=2, max_length=200)]
Languages = tuple[Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z]{2,3}$")], ...]


Quota = Annotated[float, pydantic.Field(gt=0, le=1)]


class Gathered(Model, Generic[T]):
    """The outputs of a joined fan-out as documents, with what failed; the runtime fills it from a ``Joined``."""

    outputs: tuple[T, ...] = ()
    failures: tuple[ShardFailure, ...] = ()


class LibrarianInput(Model):
    """What to find sources for. No languages and no kinds mean any; ``per_site`` bounds the feeds of one site."""

    topic: Topic
    catalogue: Catalogue
    kinds: tuple[SourceKind, ...] = ()
    languages: Languages = ()
    max_sources: Annotated[int, pydantic.Field(ge=1, le=10_000)] = 40
    per_site: Annotated[int, pydantic.Field(ge=1)] = 3
    minimum_score: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.3


class ResearcherInput(Model):
    """What to find angles and further sources for, beyond those that are known already.

    ``kinds`` bounds what sources are wanted; none means all. Platforms are asked as long as ``ask_platforms`` is set.
    """

    topic: Topic
    catalogue: Catalogue
    platforms: Platforms | None = None
    ask_platforms: bool = True
    kinds: tuple[SourceKind, ...] = ()
    known: SourceList | None = None
    languages: Languages = ()
    max_sources: Annotated[int, pydantic.Field(ge=0, le=10_000)] = 20
    per_site: Annotated[int, pydantic.Field(ge=1)] = 3


class FetcherInput(Model):
    """The feed to read, how many of its entries to keep at most, and whether to read the pages behind mere teasers."""

    source: Source
    max_articles: Annotated[int, pydantic.Field(ge=1, le=1000)] = 50
    full_text: Literal["never", "teasers"] = "never"


class ClassifierInput(Model):
    """The articles to judge by their topic. ``words`` of a research plan sharpen the topic where there is one.

    Each share bounds which part of the chosen articles one site, one language or one region may have.
    """

    topic: Topic
    feeds: Gathered[ArticleSet]
    plan: ResearchPlan | None = None
    max_articles: Annotated[int, pydantic.Field(ge=1, le=1000)] = 60
    max_age_days: Annotated[int, pydantic.Field(ge=1)] | None = None
    languages: Languages = ()
    site_share: Quota = 0.2
    language_share: Quota = 1.0
    region_share: Quota = 1.0


class WriterInput(Model):
    """The analysed articles to write a report on; the title is made from the topic if left empty."""

    topic: Topic
    articles: AnalysedArticles
    title: str = ""


class CheckerInput(Model):
    """The report to check against the articles that it cites, and which share of its sentences they must bear."""

    report: Report
    articles: AnalysedArticles
    minimum_support: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.95


class BuilderInput(Model):
    """The checked report, and the articles whose stories and sources are to be remembered."""

    report: Report
    articles: AnalysedArticles


RSS_LIBRARIAN = stages.StageSpec(
    name="rss_librarian",
    input=LibrarianInput,
    output=SourceList,
    description="Ranks the feeds of the catalogue for a topic.",
    timeout=60,
    typical_seconds=0.5,
)
TOPIC_RESEARCHER = stages.StageSpec(
    name="topic_researcher",
    input=ResearcherInput,
    output=ResearchPlan,
    description="Finds angles and queries for a topic and, with them, further feeds.",
    timeout=60,
    typical_seconds=0.5,
)
FEED_FETCHER = stages.StageSpec(
    name="feed_fetcher",
    input=FetcherInput,
    output=ArticleSet,
    description="Fetches one feed and returns its entries as clean articles.",
    timeout=60,
    typical_seconds=0.5,
)
CONTENT_CLASSIFIER = stages.StageSpec(
    name="content_classifier",
    input=ClassifierInput,
    output=AnalysedArticles,
    description="Judges articles by topic and worth, finds repeats and stories, and chooses the best within quotas.",
    timeout=300,
    typical_seconds=5.0,
)
REPORT_WRITER = stages.StageSpec(
    name="report_writer",
    input=WriterInput,
    output=Report,
    description="Writes the report: stories by theme, what is new, trends, and a summary, every sentence cited.",
    timeout=300,
    typical_seconds=2.0,
)
CITATION_CHECKER = stages.StageSpec(
    name="citation_checker",
    input=CheckerInput,
    output=Report,
    description="Checks every cited sentence against its evidence; fails where too few are borne out.",
    timeout=120,
    typical_seconds=2.0,
)
CITATION_QUOTER = stages.StageSpec(
    name="citation_quoter",
    input=CheckerInput,
    output=Report,
    description="Puts quotations in the place of sentences that their evidence does not bear, and checks again.",
    timeout=120,
    typical_seconds=2.0,
)
REPORT_BUILDER = stages.StageSpec(
    name="report_builder",
    input=BuilderInput,
    output=Report,
    description="Renders the report as HTML, Markdown and JSON, and remembers what it told.",
    timeout=60,
    typical_seconds=0.5,
    formats=("html", "markdown"),
)

STAGES: tuple[stages.StageSpec, ...] = (
    RSS_LIBRARIAN,
    TOPIC_RESEARCHER,
    FEED_FETCHER,
    CONTENT_CLASSIFIER,
    REPORT_WRITER,
    CITATION_CHECKER,
    CITATION_QUOTER,
    REPORT_BUILDER,
)
