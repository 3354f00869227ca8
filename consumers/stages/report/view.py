"""What a page shows of a report: counts, dates and rows, ready for a template."""

import collections
import datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from contracts import artifacts

LISTED = 10
"""How many left-out articles a page lists for each reason; the JSON has them all."""

REASONS: dict[artifacts.LeftOutReason, str] = {
    "irrelevant": "not about the topic",
    "duplicate": "repeat another article",
    "low_quality": "too little text, or an advertisement",
    "old": "older than asked for",
    "language": "in another language than asked for",
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
    evidence: dict[int, artifacts.Citation]


def of(report: artifacts.Report) -> View:
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
            Failed(failure.details.get("source", f"feed {failure.shard}"), failure.explanation)
            for failure in report.failures
        ),
        evidence={citation.number: citation for citation in report.evidence},
    )


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


def link(url: str) -> str | None:
    """The URL if it is a plain http or https address, else None: nothing else from a feed becomes a link."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    unsafe = any(letter.isspace() or ord(letter) < 32 for letter in url)
    return url if parts.scheme in ("http", "https") and host and not unsafe else None


def _period(evidence: tuple[artifacts.Citation, ...]) -> str:
    dates = sorted(citation.published for citation in evidence if citation.published)
    if not dates:
        return ""
    first, last = day(dates[0]), day(dates[-1])
    return first if first == last else f"{first} to {last}"


def _listed(report: artifacts.Report) -> tuple[artifacts.LeftOut, ...]:
    """Repeats and articles over the limit first: what a reader may miss; then what came nearest to the topic."""
    order = {"duplicate": 0, "over_limit": 1, "low_quality": 2, "old": 3, "language": 4, "irrelevant": 5}
    ranked = sorted(report.left_out, key=lambda item: (order[item.reason], _nearness(item), item.title, item.id))
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
