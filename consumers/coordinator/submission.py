"""A job that somebody asked for, checked against its template and its client: the execution that it becomes."""

import dataclasses
import hashlib
import json
from uuid import UUID

from consumers.coordinator.engine.offers import Evaluate
from consumers.coordinator.transitions import State
from contracts import messages, submissions
from contracts.errors import FactoryError, MessageError, Reason, TemplateError
from contracts.messages import SubmitJob
from contracts.templates import Template
from contracts.tiers import Tier
from infra import budgets, database, jobs
from infra import templates as stored_templates
from infra.jobs import Client, NewExecution, Submitted


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """What the database says about the senders of a batch and what they ask for."""

    clients: dict[str, Client]
    services: frozenset[str]
    queued: dict[str, int] = dataclasses.field(default_factory=dict)
    templates: dict[tuple[str, int | None], Template | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """Where answers about a job go, if anywhere, and the trace that it belongs to."""

    reply_to: str | None = None
    correlation_id: str | None = None
    traceparent: str | None = None


def active_client(known: Known, name: str) -> Client:
    """The client of that name; raises MessageError unless it is there and active."""
    found = known.clients.get(name)
    if found is None or not found.active:
        raise MessageError(
            Reason.UNKNOWN_CLIENT, f"field 'client' is '{name}', which is no active client; have it added"
        )
    return found


async def own(
    connection: database.Connection, state: State, job: SubmitJob, new_id: UUID, traceparent: str
) -> Submitted:
    """Stores a job that the factory itself wants, which nobody waits for, inside the caller's transaction.

    The same submit key stands for the same execution however often it is asked for. Raises MessageError.
    """
    known = Known(await jobs.clients(connection, [job.client]), frozenset())
    known.queued.update(await jobs.queued(connection, known.clients))
    origin = Origin(traceparent=traceparent)
    new = await execution(connection, state, job, active_client(known, job.client), origin, known, new_id)
    await jobs.insert(connection, [new])
    return (await jobs.submitted(connection, [(job.client, job.submit_key)]))[job.client, job.submit_key]


async def execution(
    connection: database.Connection,
    state: State,
    job: SubmitJob,
    client: Client,
    origin: Origin,
    known: Known,
    new_id: UUID,
) -> NewExecution:
    """The execution that a job becomes; raises MessageError with the field, the value and the remedy."""
    template = await _template(connection, state, job, known)
    resolved = submissions.resolve(template, client.tier, job)
    try:
        estimate = cost(template, job, client.tier, resolved, state.tools.evaluate)
        digest = content_hash(job)
    except ValueError as error:
        raise MessageError(Reason.INVALID_PARAMETERS, str(error)[:1900]) from error
    except FactoryError as error:
        raise MessageError(
            Reason.UNKNOWN_TEMPLATE, f"template '{template.name}' has no usable cost: {error}"[:1900]
        ) from error
    await _check_month(connection, client, job)
    position = known.queued.get(client.id, 0)
    known.queued[client.id] = position + 1
    return NewExecution(
        id=new_id,
        job=job,
        submit_hash=digest,
        template_version=template.version,
        parameters=resolved,
        tier=client.tier,
        position=position,
        estimate=estimate,
        reply_to=origin.reply_to,
        correlation_id=origin.correlation_id,
        traceparent=origin.traceparent,
    )


async def _check_month(connection: database.Connection, client: Client, job: SubmitJob) -> None:
    """Raises MessageError if the client's month is used up, unless the job is a repeat of one that was taken before."""
    if client.used_up and not await jobs.submitted(connection, [(client.id, job.submit_key)]):
        limit, spent = budgets.dollars(client.monthly_budget or 0), budgets.dollars(client.spent)
        raise MessageError(
            Reason.OVER_BUDGET,
            f"field 'client' is '{client.id}', which has spent {spent} of its {limit} for {client.month} (UTC); "
            f"submit again next month, or have it raised with 'factory budgets set {client.id} USD'",
        )


async def _template(connection: database.Connection, state: State, job: SubmitJob, known: Known) -> Template:
    wanted = (job.template, job.template_version)
    try:
        if wanted not in known.templates:
            known.templates[wanted] = await _stored(connection, state, *wanted)
        template = known.templates[wanted]
    except TemplateError as error:
        raise MessageError(
            Reason.UNKNOWN_TEMPLATE, f"template '{job.template}' is stored but broken: {error}"[:1900]
        ) from error
    if template is None:
        version = "" if job.template_version is None else f" version {job.template_version}"
        raise MessageError(
            Reason.UNKNOWN_TEMPLATE,
            f"field 'template' is '{job.template}'{version}, which does not exist; see 'factory templates list'",
        )
    return template


async def _stored(
    connection: database.Connection, state: State, name: str, version: int | None
) -> Template | None:
    chosen = await stored_templates.active_version(connection, name) if version is None else version
    return None if chosen is None else await state.library.find(connection, name, chosen)


def content_hash(job: SubmitJob) -> str:
    """What two jobs under one submit key must agree in; raises ValueError for a number that JSON cannot write.

    What is not asked for does not count, so that a field of a later version changes no hash of a job without it.
    """
    document = job.model_dump(mode="json", exclude={"submit_key"}, exclude_defaults=True)
    return hashlib.sha256(json.dumps(document, sort_keys=True, allow_nan=False).encode()).hexdigest()


def cost(
    template: Template, job: SubmitJob, tier: Tier, given: dict[str, messages.Json], evaluate: Evaluate
) -> float:
    """The estimate that fair admission counts with: the sum of what the steps say they cost, at least a thousandth."""
    variables: dict[str, messages.Json] = {
        "parameters": given,
        "context": {
            "client": job.client,
            "tier": tier.value,
            "quality": job.quality.value,
            "optimise_for": job.optimise_for.value,
            "template": template.name,
            "template_version": template.version,
            "budget": job.budget,
        },
        "steps": {},
    }
    total = 0.0
    for step in template.steps:
        value = evaluate(step.cost, variables)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FactoryError(f"the cost of step '{step.name}' is {value!r:.80}; make it a number")
        total += value
    return max(total, 0.001)
