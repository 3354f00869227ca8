"""What is new since the client's last report on the subject, and how counts have moved."""

import collections
import datetime
from collections.abc import Mapping, Sequence

from contracts import artifacts, reports
from contracts.memory import PastReport

DAYS = 31
"""Days of which a chart shows how many articles appeared."""


def news(story: artifacts.ToldStory, articles: Sequence[artifacts.Article], past: Sequence[PastReport]) -> reports.News:
    """How a story stands to the earlier reports; an article whose text has changed counts as more of it."""
    if not past:
        return "first"
    told = _fingerprints(past)
    if not any(story.id in report.titles for report in past) and not any(each.id in told for each in articles):
        return "new"
    more = any(each.id not in told or revised(each, past) for each in articles)
    return "updated" if more else "known"


def revised(article: artifacts.Article, past: Sequence[PastReport]) -> bool:
    """Whether an earlier report cited it and its text says something else now."""
    before = _fingerprints(past).get(article.id, "")
    return bool(before and article.fingerprint and before != article.fingerprint)


def _fingerprints(past: Sequence[PastReport]) -> dict[str, str]:
    """The fingerprint of each article when it was told last."""
    return {article.id: article.fingerprint for report in reversed(past) for article in report.articles}


def since(stories: Sequence[reports.Story], past: Sequence[PastReport]) -> reports.Since | None:
    """What has changed since the last report; None if there was none."""
    if not past:
        return None
    here = {story.id for story in stories}
    return reports.Since(
        told_at=past[0].told_at,
        new=_ids(stories, "new"),
        updated=_ids(stories, "updated"),
        known=_ids(stories, "known"),
        quiet=tuple(title for identity, title in past[0].titles.items() if identity not in here),
    )


def _ids(stories: Sequence[reports.Story], wanted: reports.News) -> tuple[str, ...]:
    return tuple(story.id for story in stories if story.news == wanted)


def counts(records: Sequence[artifacts.AnalysedArticle]) -> dict[str, int]:
    """How many articles each category has."""
    return dict(collections.Counter(record.category for record in records))


def trends(records: Sequence[artifacts.AnalysedArticle], past: Sequence[PastReport]) -> reports.Trends:
    """Articles by category now and in earlier reports, those included that only the last one had, and by day."""
    now = counts(records)
    earlier = list(reversed(past))
    names = now.keys() | (past[0].counts.keys() if past else ())
    sites: Mapping[str, set[str]] = collections.defaultdict(set)
    for record in records:
        sites[record.category].add(record.article.site)
    return reports.Trends(
        reports=tuple(report.told_at for report in earlier),
        categories=tuple(
            reports.Trend(
                name=name,
                articles=now.get(name, 0),
                sites=len(sites[name]),
                before=tuple(report.counts.get(name, 0) for report in earlier),
            )
            for name in sorted(names, key=lambda name: (-now.get(name, 0), name))
        ),
        days=_days([record.article.published for record in records]),
    )


def _days(moments: Sequence[datetime.datetime | None]) -> tuple[reports.Day, ...]:
    """Every day up to the latest, those without an article included, from the first one that the chart has room for."""
    dates = collections.Counter(moment.date() for moment in moments if moment)
    if not dates:
        return ()
    last = max(dates)
    first = max(min(dates), last - datetime.timedelta(days=DAYS - 1))
    number = (last - first).days + 1
    shown = [first + datetime.timedelta(days=offset) for offset in range(number)]
    return tuple(reports.Day(day=day, articles=dates[day]) for day in shown)
