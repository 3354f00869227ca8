"""Jobs become queued executions, or get an answer that says what is wrong with them."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from uuid import UUID

from consumers.coordinator import facts, replies
from consumers.coordinator.offers import Evaluate
from consumers.coordinator.outcome import Outcome
from consumers.coordinator.transitions import State
from contracts import messages, parameters
from contracts.errors import FactoryError, MessageError, Reason, TemplateError
from contracts.messages import CancelExecution, JobAccepted, JobRejected, SubmitJob
from contracts.templates import Template
from contracts.tiers import Tier
from infra import database, dead_letters, jobs, outbox
from infra import templates as stored_templates
from infra.delivery import Delivery
from infra.jobs import Client, NewExecution, Submitted

Command = SubmitJob | CancelExecution


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A decoded command with the delivery that brought it, whose ``user_id`` the broker has verified."""

    command: Command
    delivery: Delivery

    @property
    def correlation_id(self) -> str | None:
        """What answers carry: the request's own correlation id, or its message id where it has none."""
        return self.delivery.correlation_id or self.delivery.message_id


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """What the database says about the senders of a batch and what they ask for."""

    clients: dict[str, Client]
    services: frozenset[str]
    queued: dict[str, int] = dataclasses.field(default_factory=dict)
    templates: dict[tuple[str, int | None], Template | None] = dataclasses.field(default_factory=dict)


async def submit(
    connection: database.Connection, state: State, requests: Sequence[Request], new_id: Callable[[], UUID]
) -> Outcome:
    """Stores the jobs of a batch inside the caller's transaction; the outcome owes an answer to whoever wants one.

    The same submit key gives the same answer again, whoever asks first; with other content it is a conflict.
    """
    known = await _known(connection, requests)
    known.queued.update(await jobs.queued(connection, known.clients))
    fresh: list[tuple[Request, NewExecution]] = []
    answers: list[outbox.Owed] = []
    for request in requests:
        if isinstance(request.command, SubmitJob):
            try:
                fresh.append((request, await _execution(connection, state, request, request.command, known, new_id())))
            except MessageError as error:
                answers += await rejected(connection, request.delivery, error, request.command.submit_key)
    if fresh:
        await jobs.insert(connection, [new for _, new in fresh])
        stored = await jobs.submitted(connection, [(new.job.client, new.job.submit_key) for _, new in fresh])
        for request, new in fresh:
            try:
                answers += _accepted(request, new, stored[new.job.client, new.job.submit_key])
            except MessageError as error:
                answers += await rejected(connection, request.delivery, error, new.job.submit_key)
    return Outcome(owed=await outbox.insert(connection, answers))


async def cancellations(
    connection: database.Connection, requests: Sequence[Request]
) -> tuple[list[facts.Cancelled], list[outbox.Owed]]:
    """The cancellations that their senders may ask for, and the answers to the others."""
    known = await _known(connection, requests)
    found: list[facts.Cancelled] = []
    answers: list[outbox.Owed] = []
    for request in requests:
        if isinstance(command := request.command, CancelExecution):
            try:
                client = _client(request, known)
                if await jobs.owner(connection, command.execution_id) != client.id:
                    raise MessageError(
                        Reason.UNKNOWN_EXECUTION,
                        f"field 'execution_id' is {command.execution_id}: client '{client.id}' has no such execution",
                    )
                found.append(facts.Cancelled(command.execution_id, request.delivery.user_id or "", command.note))
            except MessageError as error:
                answers += await rejected(connection, request.delivery, error, None)
    return found, answers


async def rejected(
    connection: database.Connection, delivery: Delivery, error: MessageError, submit_key: str | None
) -> list[outbox.Owed]:
    """The rejection as an answer to the sender, or as a dead letter where he left no address."""
    if delivery.reply_to is None or not replies.allowed(delivery.reply_to):
        await dead_letters.add_message(connection, dead(delivery, error.reason, str(error)))
        return []
    answer = JobRejected(submit_key=submit_key, reason=error.reason, explanation=str(error)[:2000])
    return [replies.answer(answer, delivery.reply_to, delivery.correlation_id or delivery.message_id)]


def dead(delivery: Delivery, reason: Reason, explanation: str) -> dead_letters.DeadMessage:
    """A delivery as a dead letter."""
    return dead_letters.DeadMessage(
        reason=reason,
        explanation=explanation,
        queue=delivery.queue,
        exchange=delivery.exchange,
        routing_key=delivery.routing_key,
        message_type=delivery.type,
        message_id=delivery.message_id,
        headers={
            **{name: value for name, value in delivery.headers.items() if isinstance(value, str | int | float)},
            "user_id": delivery.user_id,
            "reply_to": delivery.reply_to,
            "correlation_id": delivery.correlation_id,
        },
        body=delivery.body,
    )


async def _known(connection: database.Connection, requests: Sequence[Request]) -> Known:
    return Known(
        clients=await jobs.clients(connection, (r.command.client for r in requests)),
        services=await jobs.service_users(connection, (r.delivery.user_id for r in requests if r.delivery.user_id)),
    )


def _client(request: Request, known: Known) -> Client:
    """The client for whom a request speaks; raises MessageError unless its sender may speak for him."""
    name = request.command.client
    user = request.delivery.user_id
    if user is None:
        raise MessageError(Reason.FORBIDDEN, "property 'user_id' is missing; set it to the broker user you connect as")
    client = known.clients.get(name)
    if user not in known.services and (client is None or client.amqp_user != user):
        raise MessageError(
            Reason.FORBIDDEN,
            f"field 'client' is '{name}', for whom broker user '{user}' may not act; connect as the client's own user",
        )
    if client is None or not client.active:
        raise MessageError(
            Reason.UNKNOWN_CLIENT, f"field 'client' is '{name}', which is no active client; have it added"
        )
    return client


def _check_address(request: Request) -> None:
    if not replies.allowed(request.delivery.reply_to):
        raise MessageError(
            Reason.INVALID_REPLY_TO,
            f"property 'reply_to' is '{request.delivery.reply_to}'; use a direct-reply, generated or 'reply.' queue",
        )


async def _execution(
    connection: database.Connection, state: State, request: Request, job: SubmitJob, known: Known, new_id: UUID
) -> NewExecution:
    client = _client(request, known)
    _check_address(request)
    template = await _template(connection, state, job, known)
    if client.tier not in template.tiers:
        tiers = ", ".join(sorted(template.tiers))
        raise MessageError(
            Reason.TIER_FORBIDDEN,
            f"field 'template' is '{template.name}', which tier {client.tier} may not run; it is for: {tiers}",
        )
    try:
        resolved = parameters.resolve(template.parameters, client.tier, job.parameters)
        estimate = cost(template, job, client.tier, resolved, state.tools.evaluate)
        digest = content_hash(job)
    except (TemplateError, ValueError) as error:
        raise MessageError(Reason.INVALID_PARAMETERS, str(error)[:1900]) from error
    except FactoryError as error:
        raise MessageError(
            Reason.UNKNOWN_TEMPLATE, f"template '{template.name}' has no usable cost: {error}"[:1900]
        ) from error
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
        reply_to=request.delivery.reply_to,
        correlation_id=request.correlation_id,
        traceparent=request.delivery.traceparent,
    )


async def _template(connection: database.Connection, state: State, job: SubmitJob, known: Known) -> Template:
    wanted = (job.template, job.template_version)
    try:
        if wanted not in known.templates:
            known.templates[wanted] = await stored_templates.load(connection, *wanted)
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
    state.library.keep(template)
    return template


def content_hash(job: SubmitJob) -> str:
    """What two jobs under one submit key must agree in; raises ValueError for a number that JSON cannot write."""
    document = job.model_dump(mode="json", exclude={"submit_key"})
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


def _accepted(request: Request, new: NewExecution, stored: Submitted) -> list[outbox.Owed]:
    if stored.submit_hash != new.submit_hash:
        raise MessageError(
            Reason.CONFLICT,
            f"field 'submit_key' is '{new.job.submit_key}', which stands for another job of this client; use a new key",
        )
    if request.delivery.reply_to is None:
        return []
    accepted = JobAccepted(
        submit_key=new.job.submit_key,
        execution_id=stored.execution_id,
        template=stored.template,
        template_version=stored.template_version,
        tier=stored.tier,
        position=stored.position,
    )
    return [replies.answer(accepted, request.delivery.reply_to, request.correlation_id)]
