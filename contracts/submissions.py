"""Whether a job fits the template that it asks for and the tier of its client."""

from contracts import parameters
from contracts.errors import MessageError, Reason, TemplateError
from contracts.messages import Json, SubmitJob
from contracts.templates import Template
from contracts.tiers import Tier


def resolve(template: Template, tier: Tier, job: SubmitJob) -> dict[str, Json]:
    """The job's parameters with defaults filled in; raises MessageError naming the field, the value and the remedy."""
    if tier not in template.tiers:
        tiers = ", ".join(sorted(template.tiers))
        raise MessageError(
            Reason.TIER_FORBIDDEN,
            f"field 'template' is '{template.name}', which tier {tier} may not run; it is for: {tiers}",
        )
    if job.deadline is not None and job.deadline <= job.delay:
        raise MessageError(
            Reason.INVALID_PARAMETERS,
            f"field 'deadline' is {job.deadline:g} s, when the job has not begun yet; make it more than field 'delay', "
            f"which is {job.delay:g} s",
        )
    try:
        return parameters.resolve(template.parameters, tier, job.parameters)
    except (TemplateError, ValueError) as error:
        raise MessageError(Reason.INVALID_PARAMETERS, str(error)[:1900]) from error
