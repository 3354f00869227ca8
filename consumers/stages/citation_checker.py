"""Checks every cited sentence of a report against its evidence; fails where too few are borne out."""

from consumers.stages.common import citations
from contracts import errors, intelligence, reports, stages

SPEC = intelligence.CITATION_CHECKER


async def run(ctx: stages.StageContext, task: intelligence.CheckerInput) -> reports.Report:
    """The report with the result of the check.

    Raises PermanentError, so that a fallback takes its place, if a citation names no evidence or if a smaller share of
    the sentences than the task demands is borne out.
    """
    check = await citations.check(ctx.analyst, task.report, task.articles, task.minimum_support)
    ctx.measure("citations_supported", check.share)
    ctx.measure("uncited_sentences", len(check.uncited))
    if check.unresolved:
        numbers = ", ".join(check.unresolved[:10])
        raise errors.PermanentError(f"the report cites {numbers[:200]}, and its evidence has no such number")
    if check.share < task.minimum_support:
        worst = min(check.claims, key=lambda claim: (claim.supported, claim.support))
        raise errors.PermanentError(
            f"the evidence bears {check.share:.0%} of {len(check.claims)} cited sentences and the template demands "
            f"{task.minimum_support:.0%}; the worst is “{worst.text[:200]}”"
        )
    return task.report.model_copy(update={"check": check})
