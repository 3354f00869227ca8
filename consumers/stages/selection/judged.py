"""An article on its way through the selection, and how it leaves it."""

import datetime
import math
from collections.abc import Sequence
from typing import NamedTuple

from consumers.stages.common import sources
from contracts import artifacts

FAR_FUTURE = datetime.datetime.max.replace(tzinfo=datetime.UTC)

_WEIGHTS = {"relevance": 0.45, "quality": 0.25, "freshness": 0.2, "independence": 0.1}


class Judged(NamedTuple):
    """An article with what is known of it before anything is chosen."""

    article: artifacts.Article
    relevance: float
    relevant: bool
    quality: float
    freshness: float

    @property
    def text(self) -> str:
        """What the analysis reads of it."""
        return f"{self.article.title}\n{self.article.text}"

    @property
    def arrival(self) -> tuple[datetime.datetime, float, str]:
        """What sorts articles in the order in which they appeared, the better of two that came at once first."""
        return (self.article.published or FAR_FUTURE, -self.quality, self.article.id)

    def scores(self, sites: int) -> artifacts.Scores:
        """What speaks for it when so many independent sites tell its story."""
        parts = {
            "relevance": self.relevance,
            "quality": self.quality,
            "freshness": round(self.freshness, 4),
            "independence": round(1 - 1 / sites, 4),
        }
        total = math.fsum(_WEIGHTS[name] * value for name, value in parts.items())
        return artifacts.Scores(**parts, total=round(total, 4))


class Sifted(NamedTuple):
    """The articles that stay, and those that are left out."""

    kept: list[Judged]
    left_out: list[artifacts.LeftOut]


def left_out(article: artifacts.Article, reason: artifacts.LeftOutReason, detail: str) -> artifacts.LeftOut:
    """The article as one that is not used."""
    return artifacts.LeftOut(
        id=article.id,
        title=article.title,
        url=article.url,
        source_title=article.source_title,
        reason=reason,
        detail=detail,
    )


def sites(articles: Sequence[artifacts.Article]) -> int:
    """From how many sites they come."""
    return len({sources.host(article.site, article.source_url) for article in articles})
