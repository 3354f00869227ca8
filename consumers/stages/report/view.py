"""What a page shows of a report: counts, dates and rows, ready for a template."""

import collections
import datetime
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from consumers.stages.report import charts
from contracts import analysis, artifacts, reports

MICRO = 1_000_000

LISTED = 10
"""How many left-out articles a page lists for each reason; the JSON has them all."""

REASONS: dict[artifacts.LeftOutReason, str] = {
    "irrelevant": "not about the topic",
    "duplicate": "repeat another article",
    "low_quality": "too little text, or an advertisement",
    "old": "older than asked for",
    "language": "in another language than asked for",
    "quota": "beyond the share of their site, language or region",
    "over_limit": "beyond the number of articles asked for",
}


class Count(NamedTuple):
    """How many articles were left out for one reason."""

    label: str
    number: int


class Failed(NamedTuple):
    """A feed that could not be read."""

    name: str
    why: str


class News(NamedTuple):
    """What has changed since the last report: its date, and the stories and articles that did."""

    date: str
    new: tuple[reports.Story, ...]
    updated: tuple[reports.Story, ...]
    known: int
    revised: tuple[reports.Citation, ...]
    quiet: tuple[str, ...]


class TrendRow(NamedTuple):
    """A category over the client's reports, with a chart where there are earlier ones."""

    trend: reports.Trend
    change: str
    chart: charts.Bars | None


class View(NamedTuple):
    """The facts of a page besides the report itself."""

    date: str
    moment: str
    period: str
    articles: int
    read: int
    counts: tuple[Count, ...]
    listed: tuple[artifacts.LeftOut, ...]
    used: tuple[artifacts.ArticleSource, ...]
    unused: tuple[artifacts.ArticleSource, ...]
    failed: tuple[Failed, ...]
    evidence: dict[int, reports.Citation]
    stories: dict[str, reports.Story]
    news: News | None
    days: charts.Bars | None
    trends: tuple[TrendRow, ...]
    models: tuple[str, ...]
    cost: str
    degraded: tuple[str, ...]


def of(report: reports.Report) -> View:
    """The facts for a page about this report."""
    reasons = collections.Counter(item.reason for item in report.left_out)
    used = tuple(source for source in report.sources if source.used)
    return View(
        date=day(report.created),
        moment=report.created.isoformat(timespec="minutes"),
        period=_period(report.evidence),
        articles=len(report.evidence) + len(report.left_out),
        read=len(report.sources),
        counts=tuple(Count(label, reasons[reason]) for reason, label in REASONS.items() if reasons[reason]),
        listed=_listed(report),
        used=used,
        unused=tuple(source for source in report.sources if not source.used),
        failed=tuple(
            Failed(failure.details.get("url", f"feed {failure.shard}"), failure.explanation)
            for failure in report.failures
        ),
        evidence={citation.number: citation for citation in report.evidence},
        stories={story.id: story for story in _stories(report)},
        news=_news(report),
        days=_days(report.trends.days),
        trends=tuple(_trend(trend) for trend in report.trends.categories),
        models=tuple(dict.fromkeys(_model(use) for made in report.made for use in made.models)),
        cost=f"${report.cost / MICRO:,.4f}".rstrip("0").rstrip(".") if report.cost else "nothing",
        degraded=tuple(dict.fromkeys(reason for made in report.made for reason in made.degraded)),
    )


def _stories(report: reports.Report) -> tuple[reports.Story, ...]:
    return tuple(story for theme in report.themes for story in theme.stories)


def _news(report: reports.Report) -> News | None:
    since = report.since
    if since is None:
        return None
    stories = {story.id: story for story in _stories(report)}
    return News(
        date=day(since.told_at),
        new=tuple(stories[identity] for identity in since.new),
        updated=tuple(stories[identity] for identity in since.updated),
        known=len(since.known),
        revised=tuple(citation for citation in report.evidence if citation.revised),
        quiet=since.quiet,
    )


def _days(days: Sequence[reports.Day]) -> charts.Bars | None:
    """A bar for each day; one day alone is no chart."""
    if len(days) < 2:
        return None
    return charts.bars([found.articles for found in days], [day_month(found.day) for found in days])


def _trend(trend: reports.Trend) -> TrendRow:
    counts = (*trend.before, trend.articles)
    chart = charts.bars(counts, [str(count) for count in counts]) if trend.before else None
    return TrendRow(trend, _change(trend), chart)


def _change(trend: reports.Trend) -> str:
    """How the count stands to the last report's."""
    if not trend.before:
        return ""
    difference = trend.articles - trend.before[-1]
    return f"{difference:+d}" if difference else "as before"


def _model(use: analysis.ModelUse) -> str:
    return f"{use.model} ({', '.join(use.prompts)}; {use.calls:,} calls, {use.cached:,} answers from memory)"


def day_month(date: datetime.date) -> str:
    """The day without its year."""
    return f"{date.day} {_MONTHS[date.month - 1]}"


def day(moment: datetime.datetime | None) -> str:
    """The date as people write it, independent of the machine's locale."""
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}" if moment else "no date"


_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def origin(citation: reports.Citation) -> str:
    """Whom an article is from: the name of the source, and its site where the name alone could be anybody's."""
    name = citation.source_title
    labels = [label for label in citation.site.split(".")[:-1] if len(label) > 2]
    plain = "".join(letter for letter in name.casefold() if letter.isalnum())
    if not citation.site or any(label.replace("-", "") in plain for label in labels):
        return name or citation.site
    return f"{name} ({citation.site})" if name else citation.site


def several(count: int, thing: str) -> str:
    """The count with its thing, in the plural where it is one."""
    plural = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{count:,} {thing if count == 1 else plural}"


def link(url: str) -> str | None:
    """The URL if it is a plain http or https address, else None: nothing else from a feed becomes a link."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    unsafe = any(letter.isspace() or ord(letter) < 32 for letter in url)
    return url if parts.scheme in ("http", "https") and host and not unsafe else None


def _period(evidence: tuple[reports.Citation, ...]) -> str:
    dates = sorted(citation.published for citation in evidence if citation.published)
    if not dates:
        return ""
    first, last = day(dates[0]), day(dates[-1])
    return first if first == last else f"{first} to {last}"


def _listed(report: reports.Report) -> tuple[artifacts.LeftOut, ...]:
    """Repeats and articles over the limit first: what a reader may miss; then what came nearest to the topic."""
    order = ("duplicate", "quota", "over_limit", "low_quality", "old", "language", "irrelevant")
    ranked = sorted(report.left_out, key=lambda item: (order.index(item.reason), _nearness(item), item.title, item.id))
    per_reason: collections.Counter[str] = collections.Counter()
    listed = []
    for item in ranked:
        per_reason[item.reason] += 1
        if per_reason[item.reason] <= LISTED:
            listed.append(item)
    return tuple(listed)


def _nearness(item: artifacts.LeftOut) -> str:
    """Sorts ``relevance 0.43`` before ``relevance 0.12``."""
    if item.reason != "irrelevant":
        return ""
    return "".join(str(9 - int(letter)) if letter.isdigit() else letter for letter in item.detail)
