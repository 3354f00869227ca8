"""Who has a place in the report: the best, but so that no site, language or region takes too many."""

import collections
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from consumers.stages.common import sources
from consumers.stages.selection.judged import Judged, left_out
from contracts import artifacts, intelligence

LEAST = 3
"""However few articles there are, a site may have so many."""

_SOLD_TO_ANYBODY = frozenset({"ai", "cc", "co", "eu", "fm", "gg", "io", "ly", "me", "sh", "so", "to", "tv", "ws"})
"""Country endings that say nothing about where a site is from."""


class Ranked(NamedTuple):
    """An article with the number of its story and its scores."""

    item: Judged
    story: int
    scores: artifacts.Scores

    @property
    def order(self) -> tuple[float, float, str]:
        """What sorts articles, the best first; the id breaks ties the same way everywhere."""
        published = self.item.article.published
        return (-self.scores.total, -(published.timestamp() if published else 0.0), self.item.article.id)


class Chosen(NamedTuple):
    """The articles that have a place, the best first, those that have none, and how many one group may have."""

    kept: list[Ranked]
    left_out: list[artifacts.LeftOut]
    limits: dict[str, int]


def site(article: artifacts.Article) -> str:
    """The site of an article as quotas count it: on a platform where many publish, each feed is one of its own."""
    return sources.host(article.site, article.source_url)


def region(article: artifacts.Article) -> str:
    """The country that a site's address names; empty for addresses that anybody may have."""
    ending = article.site.rpartition(".")[2]
    return "" if ending in _SOLD_TO_ANYBODY or len(ending) != 2 else ending


GROUPS: Mapping[str, Callable[[artifacts.Article], str]] = {
    "site": site,
    "language": lambda article: article.language,
    "region": region,
}


def choose(ranked: Sequence[Ranked], task: intelligence.ClassifierInput) -> Chosen:
    """The best articles within the quotas.

    A quota is a share of the articles that there are places and candidates for, but at least ``LEAST`` articles and at
    least an equal part for each group. Articles of an unknown group are under none.
    """
    shares = {"site": task.site_share, "language": task.language_share, "region": task.region_share}
    ordered = sorted(ranked, key=lambda each: each.order)
    total = min(task.max_articles, len(ordered))
    limits = {name: _limit(name, share, total, ordered) for name, share in shares.items()}
    kept, refused = _within(ordered, task.max_articles, limits)
    return Chosen(kept, refused, limits)


def _limit(name: str, share: float, total: int, ordered: Sequence[Ranked]) -> int:
    groups = {GROUPS[name](each.item.article) for each in ordered} - {""}
    return max(LEAST, math.ceil(share * total), math.ceil(total / max(1, len(groups))))


def _within(
    ordered: Sequence[Ranked], most: int, limits: Mapping[str, int]
) -> tuple[list[Ranked], list[artifacts.LeftOut]]:
    taken: collections.Counter[tuple[str, str]] = collections.Counter()
    kept: list[Ranked] = []
    refused: list[artifacts.LeftOut] = []
    for each in ordered:
        article = each.item.article
        groups = [(name, group(article)) for name, group in GROUPS.items()]
        full = next(((name, group) for name, group in groups if group and taken[name, group] >= limits[name]), None)
        if len(kept) >= most:
            refused.append(left_out(article, "over_limit", f"the best {most} were chosen"))
        elif full is not None:
            name, group = full
            refused.append(left_out(article, "quota", f"the {name} {group} already has {limits[name]} articles"))
        else:
            taken.update(groups)
            kept.append(each)
    return kept, refused
