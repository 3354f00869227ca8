"""Articles that nearly repeat another: the earliest stays, wherever it was published."""

import collections
import datetime
from collections.abc import Sequence
from typing import NamedTuple

from consumers.stages.selection.judged import Judged, left_out
from contracts import artifacts

_SOON = datetime.timedelta(days=2)

_LONG_TITLE = 4
"""Words from which the same title on one site means the same article; shorter ones are names of columns."""


class Unrepeated(NamedTuple):
    """The originals, the ids of the copies of each, and the copies as left out."""

    kept: list[Judged]
    also: dict[str, tuple[str, ...]]
    left_out: list[artifacts.LeftOut]


def without(ordered: Sequence[Judged], originals: Sequence[int]) -> Unrepeated:
    """The articles without copies; ``originals`` has for each the index of the one that it repeats, or its own."""
    also: dict[str, list[str]] = collections.defaultdict(list)
    kept: list[Judged] = []
    refused: list[artifacts.LeftOut] = []
    for item, original in zip(ordered, _same_title(ordered, originals), strict=True):
        first = ordered[original].article
        if first.id == item.article.id:
            kept.append(item)
        else:
            also[first.id].append(item.article.id)
            refused.append(left_out(item.article, "duplicate", f"repeats “{first.title}” ({first.source_title})"))
    return Unrepeated(kept, {key: tuple(sorted(ids)) for key, ids in also.items()}, refused)


def _same_title(ordered: Sequence[Judged], originals: Sequence[int]) -> list[int]:
    """Also one article where a site gives the same longer title twice within days, with different teasers."""
    last: dict[tuple[str, str], int] = {}
    result = list(originals)
    for index, item in enumerate(ordered):
        title = " ".join(item.article.title.casefold().split())
        if result[index] != index or len(title.split()) < _LONG_TITLE:
            continue
        before = last.get((item.article.site, title))
        if before is not None and _soon_after(ordered[before].article, item.article):
            result[index] = before
        else:
            last[item.article.site, title] = index
    return [result[original] for original in result]


def _soon_after(before: artifacts.Article, after: artifacts.Article) -> bool:
    """Whether two articles of one title can be one: a column has the same title each week."""
    if before.published is None or after.published is None:
        return before.published is after.published
    return after.published - before.published <= _SOON
