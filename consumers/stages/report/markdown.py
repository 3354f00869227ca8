"""Renders a report as Markdown in which text from feeds is only ever text."""

import re

from consumers.stages.report import view
from contracts import artifacts

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


def render(report: artifacts.Report) -> bytes:
    """The report as UTF-8 Markdown; citations are the numbers of the evidence list."""
    facts = view.of(report)
    parts = [
        f"# {escape(report.title)}",
        f"{facts.date} · {len(report.evidence)} of {facts.articles} articles · {facts.read} feeds read, "
        f"{len(facts.failed)} failed",
        *(_enough(report) if report.enough else _thin(report, facts)),
        *_evidence(report),
        *_sources(report, facts),
        *_left_out(facts),
        "## How this was made",
        escape(report.method),
    ]
    return ("\n\n".join(parts) + "\n").encode()


def _numbers(numbers: tuple[int, ...]) -> str:
    return " ".join(f"[[{number}]](#e{number})" for number in numbers)


def _enough(report: artifacts.Report) -> list[str]:
    summary = "\n".join(f"- {escape(line.text)} {_numbers(line.citations)}" for line in report.executive_summary)
    parts = ["## In brief", summary] if summary else []
    for theme in report.themes:
        parts.append(f"## {escape(theme.title)}")
        parts += [_story(story) for story in theme.stories]
    return parts


def _story(story: artifacts.Story) -> str:
    text = f"{escape(story.summary)} {_numbers((story.citation, *story.further))}"
    lines = [f"### {escape(story.title)}", "", text.strip()]
    if story.key_points:
        lines += ["", *(f"- {escape(point)} {_numbers((story.citation,))}" for point in story.key_points)]
    return "\n".join(lines)


def _thin(report: artifacts.Report, facts: view.View) -> list[str]:
    lead = (
        f"There is not enough material for a report on {escape(report.topic)}: of {facts.articles} articles in "
        f"{facts.read} feeds, {len(report.evidence)} are about it. What was tried and left out is listed below."
    )
    return ["## Not enough material", lead]


def _evidence(report: artifacts.Report) -> list[str]:
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


def _sources(report: artifacts.Report, facts: view.View) -> list[str]:
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
