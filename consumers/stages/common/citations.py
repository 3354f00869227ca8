"""The check of a report's citations: does each number name an article, and does that article say so?"""

import re
from collections.abc import Collection, Iterator, Sequence

from contracts import artifacts, reports
from contracts.analysis import Analyst, Support

_BRACKETS = re.compile(r"\[\d+\]")


async def check(
    analyst: Analyst, report: reports.Report, articles: artifacts.AnalysedArticles, threshold: float
) -> reports.CitationCheck:
    """Every cited sentence and every title against the articles it cites; ``threshold`` is the least share to bear out.

    A number in brackets inside a sentence counts as a citation, unless its evidence has it as well.
    """
    texts = _texts(report, articles)
    cited = list(dict.fromkeys(statements(report)))
    evidence = [[texts[number] for number in each.citations if number in texts] for each in cited]
    verdicts = await analyst.support([each.text for each in cited], evidence)
    claims = tuple(
        _claim(each, verdict, _unresolved(each, found, texts.keys()))
        for each, verdict, found in zip(cited, verdicts, evidence, strict=True)
    )
    return reports.CitationCheck(
        claims=claims,
        unresolved=tuple(sorted({name for claim in claims for name in claim.missing if name.startswith("[")})),
        uncited=await _uncited(analyst, report, texts),
        share=round(sum(claim.supported for claim in claims) / len(claims), 4) if claims else 1.0,
        threshold=threshold,
    )


def _unresolved(each: reports.Statement, evidence: Sequence[str], known: Collection[int]) -> tuple[str, ...]:
    """The citations of a sentence that name nothing, as they are written."""
    numbers = {f"[{number}]" for number in each.citations if number not in known}
    held = "\n".join(evidence)
    inside = {found for found in _BRACKETS.findall(each.text) if found not in held}
    return tuple(sorted(numbers | (inside - {f"[{number}]" for number in known})))


def _claim(each: reports.Statement, verdict: Support, unresolved: tuple[str, ...]) -> reports.Claim:
    return reports.Claim(
        text=each.text,
        citations=each.citations,
        support=verdict.support,
        supported=verdict.supported and not unresolved,
        missing=(*verdict.missing, *unresolved),
    )


def statements(report: reports.Report) -> Iterator[reports.Statement]:
    """Every sentence that cites something; a story's title cites its leading article."""
    yield from report.executive_summary
    for theme in report.themes:
        for story in theme.stories:
            yield reports.Statement(text=story.title, citations=(story.citation,))
            yield from story.happened
            yield from (each for each in (story.matters, *story.differences) if each is not None)


def _texts(report: reports.Report, articles: artifacts.AnalysedArticles) -> dict[int, str]:
    """The article behind each number, with the name of its source, which a sentence may use."""
    by_id = {record.article.id: record.article for record in articles.records}
    return {
        citation.number: "\n".join((citation.source_title, article.title, article.text))
        for citation in report.evidence
        if (article := by_id.get(citation.article_id)) is not None
    }


async def _uncited(analyst: Analyst, report: reports.Report, texts: dict[int, str]) -> tuple[str, ...]:
    """Names of themes that state what no article of theirs says."""
    titles = [theme.title for theme in report.themes]
    evidence = [[texts[number] for number in _of(theme) if number in texts] for theme in report.themes]
    verdicts = await analyst.support(titles, evidence)
    return tuple(title for title, verdict in zip(titles, verdicts, strict=True) if verdict.missing)


def _of(theme: reports.Theme) -> Sequence[int]:
    return [number for story in theme.stories for number in (story.citation, *story.further)]
