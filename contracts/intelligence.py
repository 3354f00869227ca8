"""The stages of the intelligence pipeline: what each takes, gives and needs."""

from typing import Annotated, Generic, TypeVar

import pydantic

from contracts import stages
from contracts.artifacts import (
    AnalysedArticles,
    ArticleSet,
    Catalogue,
    Report,
    ResearchPlan,
    Source,
    SourceList,
)
from contracts.messages import ShardFailure
from contracts.model import Model

T = TypeVar("T")

Topic = Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=2, max_length=200)]
Languages = tuple[Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z]{2,3}$")], ...]


class Gathered(Model, Generic[T]):
    """The outputs of a joined fan-out as documents, with what failed; the runtime fills it from a ``Joined``."""

    outputs: tuple[T, ...] = ()
    failures: tuple[ShardFailure, ...] = ()


class LibrarianInput(Model):
    """What to find sources for. No languages means any; ``per_site`` bounds how many feeds one site may have."""

    topic: Topic
    catalogue: Catalogue
    languages: Languages = ()
    max_sources: Annotated[int, pydantic.Field(ge=1, le=10_000)] = 40
    per_site: Annotated[int, pydantic.Field(ge=1)] = 3
    minimum_score: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.3


class ResearcherInput(Model):
    """What to find angles and further sources for, beyond those that are known already."""

    topic: Topic
    catalogue: Catalogue
    known: SourceList | None = None
    languages: Languages = ()
    max_sources: Annotated[int, pydantic.Field(ge=0, le=10_000)] = 20
    per_site: Annotated[int, pydantic.Field(ge=1)] = 3


class FetcherInput(Model):
    """The feed to read, and how many of its entries to keep at most."""

    source: Source
    max_articles: Annotated[int, pydantic.Field(ge=1, le=1000)] = 50


class ClassifierInput(Model):
    """The articles to judge by their topic. ``words`` of a research plan sharpen the topic where there is one."""

    topic: Topic
    feeds: Gathered[ArticleSet]
    plan: ResearchPlan | None = None
    max_articles: Annotated[int, pydantic.Field(ge=1, le=1000)] = 60
    max_age_days: Annotated[int, pydantic.Field(ge=1)] | None = None
    languages: Languages = ()


class ReportInput(Model):
    """The analysed articles to report on."""

    topic: Topic
    articles: AnalysedArticles
    title: str = ""


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
    description="Judges articles by topic, quality and category, summarises them and finds repeats.",
    timeout=300,
    typical_seconds=5.0,
)
REPORT_BUILDER = stages.StageSpec(
    name="report_builder",
    input=ReportInput,
    output=Report,
    description="Writes the report as HTML, Markdown and JSON, with every statement cited.",
    timeout=60,
    typical_seconds=0.5,
    formats=("html", "markdown"),
)

STAGES: tuple[stages.StageSpec, ...] = (
    RSS_LIBRARIAN,
    TOPIC_RESEARCHER,
    FEED_FETCHER,
    CONTENT_CLASSIFIER,
    REPORT_BUILDER,
)
