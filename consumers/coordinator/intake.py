"""Jobs become queued executions, or get an answer that says what is wrong with them."""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from uuid import UUID

from consumers.coordinator import marks, replies, submission
from consumers.coordinator.engine import facts
from consumers.coordinator.outcome import Outcome
from consumers.coordinator.submission import Known, Origin
from consumers.coordinator.transitions import State
from contracts.errors import MessageError, Reason
from contracts.messages import JobAccepted, JobRejected, SubmitJob
from contracts.steering import CancelExecution, SetPause, SteerExecution
from infra import database, dead_letters, jobs, outbox, tracing
from infra.delivery import Delivery
from infra.jobs import Client, NewExecution, Submitted

Command = SubmitJob | CancelExecution | SteerExecution | SetPause


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A decoded command with the delivery that brought it, whose ``user_id`` the broker has verified."""

    command: Command
    delivery: Delivery

    @property
    def correlation_id(self) -> str | None:
        """What answers carry: the request's own correlation id, or its message id where it has none."""
        return self.delivery.correlation_id or self.delivery.message_id


async def submit(
    connection: database.Connection, state: State, requests: Sequence[Request], new_id: Callable[[], UUID]
) -> Outcome:
    """Stores the jobs of a batch inside the caller's transaction; the outcome owes an answer to whoever wants one.

    The same submit key gives the same answer again, whoever asks first; with other content it is a conflict.
    """
    known = await known_of(connection, requests)
    known.queued.update(await jobs.queued(connection, known.clients))
    fresh: list[tuple[Request, NewExecution]] = []
    answers: list[outbox.Owed] = []
    counted: collections.Counter[str] = collections.Counter()
    traced: dict[str, UUID] = {}
    for request in requests:
        if isinstance(request.command, SubmitJob):
            try:
                fresh.append((request, await _execution(connection, state, request, request.command, known, new_id())))
            except MessageError as error:
                counted["rejected"] += 1
                answers += await rejected(connection, request.delivery, error, request.command.submit_key)
    if fresh:
        await jobs.insert(connection, [new for _, new in fresh])
        stored = await jobs.submitted(connection, [(new.job.client, new.job.submit_key) for _, new in fresh])
        for request, new in fresh:
            try:
                found = stored[new.job.client, new.job.submit_key]
                answers += _accepted(request, new, found)
                if tracing.on() and new.traceparent is not None:
                    traced[new.traceparent] = found.execution_id
                counted["accepted" if found.execution_id == new.id else "repeated"] += 1
            except MessageError as error:
                counted["rejected"] += 1
                answers += await rejected(connection, request.delivery, error, new.job.submit_key)
    return Outcome(owed=await outbox.insert(connection, answers), answered=counted, accepted=traced)


async def cancellations(
    connection: database.Connection, requests: Sequence[Request]
) -> tuple[list[facts.Cancelled], list[outbox.Owed]]:
    """The cancellations that their senders may ask for, and the answers to the others."""
    found: list[facts.Cancelled] = []
    answers: list[outbox.Owed] = []
    asked = [request for request in requests if isinstance(request.command, CancelExecution)]
    if not asked:
        return found, answers
    known = await known_of(connection, asked)
    for request in asked:
        if isinstance(command := request.command, CancelExecution):
            try:
                await check_owner(connection, request, command.execution_id, known)
                found.append(facts.Cancelled(command.execution_id, request.delivery.user_id or "", command.note))
            except MessageError as error:
                answers += await rejected(connection, request.delivery, error, None)
    return found, answers


async def rejected(
    connection: database.Connection, delivery: Delivery, error: MessageError, submit_key: str | None
) -> list[outbox.Owed]:
    """The rejection as an answer to the sender; a dead letter where he left no address, or waits no more.

    Who requeued a message is no sender and gets no answer, so that it becomes a dead letter again.
    """
    addressed = delivery.reply_to is not None and replies.allowed(delivery.reply_to)
    if not addressed or marks.letter(delivery) is not None:
        await dead_letters.add_message(connection, dead(delivery, error.reason, str(error)))
    if delivery.reply_to is None or not addressed:
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


async def known_of(connection: database.Connection, requests: Sequence[Request]) -> Known:
    """What the database says about the senders of these requests."""
    named = (r.command.client for r in requests if not isinstance(r.command, SetPause))
    return Known(
        clients=await jobs.clients(connection, named),
        services=await jobs.service_users(connection, (r.delivery.user_id for r in requests if r.delivery.user_id)),
    )


async def check_owner(connection: database.Connection, request: Request, execution_id: UUID, known: Known) -> None:
    """Raises MessageError unless the sender may speak for the client, and the execution is that client's."""
    client = client_of(request, known)
    if await jobs.owner(connection, execution_id) != client.id:
        raise MessageError(
            Reason.UNKNOWN_EXECUTION,
            f"field 'execution_id' is {execution_id}: client '{client.id}' has no such execution",
        )


def client_of(request: Request, known: Known) -> Client:
    """The client for whom a request speaks; raises MessageError unless its sender may speak for him."""
    name = "" if isinstance(request.command, SetPause) else request.command.client
    user = request.delivery.user_id
    if user is None:
        raise MessageError(Reason.FORBIDDEN, "property 'user_id' is missing; set it to the broker user you connect as")
    client = known.clients.get(name)
    if user not in known.services and (client is None or client.amqp_user != user):
        raise MessageError(
            Reason.FORBIDDEN,
            f"field 'client' is '{name}', for whom broker user '{user}' may not act; connect as the client's own user",
        )
    return submission.active_client(known, name)


def _check_address(request: Request) -> None:
    if not replies.allowed(request.delivery.reply_to):
        raise MessageError(
            Reason.INVALID_REPLY_TO,
            f"property 'reply_to' is '{request.delivery.reply_to}'; use a direct-reply, generated or 'reply.' queue",
        )


async def _execution(
    connection: database.Connection, state: State, request: Request, job: SubmitJob, known: Known, new_id: UUID
) -> NewExecution:
    client = client_of(request, known)
    _check_address(request)
    origin = Origin(request.delivery.reply_to, request.correlation_id, request.delivery.traceparent)
    return await submission.execution(connection, state, job, client, origin, known, new_id)


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
    # Of a repeat the trace is not that of the execution, which belongs to the first one.
    trace = new.traceparent if stored.execution_id == new.id else None
    return [replies.answer(accepted, request.delivery.reply_to, request.correlation_id, trace)]
