"""Renders a report as Markdown in which text from feeds is only ever text."""

import re
from collections.abc import Iterable

from consumers.stages.report import view
from contracts import reports

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&:@/])")
_SPACE = re.compile(r"\s+")


def escape(text: str) -> str:
    """The text on one line with every character escaped that could start a link, an image, a tag or a heading.

    Colons, slashes and at signs are escaped as well, since many readers turn bare addresses into links.
    """
    return _SPECIAL.sub(r"\\\1", _SPACE.sub(" ", text).strip())


def address(url: str) -> str:
    """The URL as the target of a link, empty where it is no plain web address."""
    safe = view.link(url)
    if safe is None:
        return ""
    return "".join(f"%{ord(letter):02X}" if letter in "<>()[]\\`\"'|*" else letter for letter in safe)


def render(report: reports.Report) -> bytes:
    """The report as UTF-8 Markdown; citations are the numbers of the evidence list."""
    facts = view.of(report)
    parts = [
        f"# {escape(report.title)}",
        f"{facts.date} · {escape(report.about)} {view.several(len(facts.failed), 'feed')} could not be read.",
        *(f"**Made with less than was asked for:** {escape(reason)}" for reason in facts.degraded),
        *(_enough(report, facts) if report.enough else _thin(report, facts)),
        *_evidence(report),
        *_check(report),
        *_sources(report, facts),
        *_left_out(facts),
        "## How this was made",
        escape(report.method),
        _made(report, facts),
    ]
    return ("\n\n".join(parts) + "\n").encode()


def _made(report: reports.Report, facts: view.View) -> str:
    engines = ", ".join(dict.fromkeys(made.engine for made in report.made))
    asked = f"Models and prompts: {'; '.join(facts.models)}." if facts.models else "No language model was asked."
    return escape(f"Engine: {engines}. {asked} It cost {facts.cost}.")


def _numbers(numbers: tuple[int, ...]) -> str:
    return " ".join(f"[[{number}]](#e{number})" for number in numbers)


def _sentences(statements: Iterable[reports.Statement]) -> str:
    return " ".join(f"{escape(each.text)} {_numbers(each.citations)}" for each in statements)


def _enough(report: reports.Report, facts: view.View) -> list[str]:
    summary = "\n".join(f"- {_sentences((line,))}" for line in report.executive_summary)
    parts = ["## In brief", summary] if summary else []
    parts += _news(facts)
    for theme in report.themes:
        parts.append(f"## {escape(theme.title)}")
        parts += [_story(story) for story in theme.stories]
    return parts + _trends(facts)


def _news(facts: view.View) -> list[str]:
    news = facts.news
    if news is None:
        return []
    lines = [f"- {label}: {escape(story.title)}" for label, stories in (("New", news.new), ("Updated", news.updated))
             for story in stories]  # fmt: skip
    lines += [f"- Rewritten: {escape(citation.title)} {_numbers((citation.number,))}" for citation in news.revised]
    lines += [f"- Nothing found this time: {escape(title)}" for title in news.quiet]
    return [f"## New since {news.date}", "\n".join([*lines, f"- {view.several(news.known, 'story')} as before"])]


def _story(story: reports.Story) -> str:
    parts = [f"### {escape(story.title)}", _sentences(story.happened)]
    if story.matters is not None:
        parts.append(f"**Why it matters.** {_sentences((story.matters,))}")
    if story.differences:
        parts.append(f"**Where sources differ.** {_sentences(story.differences)}")
    if story.further:
        parts.append(f"Also told by {_numbers(story.further)}")
    return "\n\n".join(parts)


def _trends(facts: view.View) -> list[str]:
    rows = ["| Category | Articles | Sites | Earlier reports |", "|---|---:|---:|---|"]
    for row in facts.trends:
        before = ", ".join(map(str, row.trend.before))
        rows.append(f"| {escape(row.trend.name)} | {row.trend.articles} | {row.trend.sites} | {before} |")
    return ["## Trends", "\n".join(rows)]


def _check(report: reports.Report) -> list[str]:
    check = report.check
    if check is None or not check.claims:
        return []
    lead = (
        f"{check.share:.0%} of {view.several(len(check.claims), 'cited sentence')} are borne out by their evidence; "
        f"{check.threshold:.0%} are demanded. Statements without a citation: {len(check.uncited)}."
    )
    rows = ["| Claim | Evidence | Support |", "|---|---|---:|"]
    rows += [f"| {escape(each.text)} | {_numbers(each.citations)} | {each.support:.2f} |" for each in check.claims]
    return ["## Check of the citations", lead, "\n".join(rows)]


def _thin(report: reports.Report, facts: view.View) -> list[str]:
    lead = (
        f"There is not enough material for a report on {escape(report.topic)}: of {facts.articles} articles in "
        f"{facts.read} feeds, {len(report.evidence)} are about it. What was tried and left out is listed below."
    )
    return ["## Not enough material", lead]


def _evidence(report: reports.Report) -> list[str]:
    if not report.evidence:
        return []
    lines = []
    for citation in report.evidence:
        target = address(citation.url)
        title = f"[{escape(citation.title)}](<{target}>)" if target else escape(citation.title)
        facts = ", ".join(
            filter(None, (escape(citation.source_title), view.day(citation.published), escape(citation.language)))
        )
        lines.append(f'- <a id="e{citation.number}"></a>\\[{citation.number}\\] {title}, {facts}')
    return ["## Evidence", "\n".join(lines)]


def _sources(report: reports.Report, facts: view.View) -> list[str]:
    rows = ["| Feed | Format | Entries | Read | Used |", "|---|---|---:|---:|---:|"]
    rows += [
        f"| {escape(source.title)} | {escape(source.format)} | {source.entries} | {source.articles} | {source.used} |"
        for source in report.sources
    ]
    parts = ["## Sources", "\n".join(rows)] if report.sources else []
    if facts.failed:
        failed = "\n".join(f"- {escape(item.name)}: {escape(item.why)}" for item in facts.failed)
        parts += ["### Feeds that could not be read", failed]
    return parts


def _left_out(facts: view.View) -> list[str]:
    if not facts.counts:
        return []
    counts = "\n".join(f"- {count.number} {count.label}" for count in facts.counts)
    listed = "\n".join(
        f"- {escape(item.title or item.url)} ({escape(item.source_title)}): {view.REASONS[item.reason]}"
        + (f", {escape(item.detail)}" if item.detail else "")
        for item in facts.listed
    )
    return ["## Left out", counts, "### Among them", listed]
