"""What people decide about executions, stages and clients, checked and carried out inside the batch's transaction."""

from collections.abc import Sequence

from consumers.coordinator import intake, replies, transitions
from consumers.coordinator.engine import facts
from consumers.coordinator.intake import Request
from consumers.coordinator.outcome import Outcome
from consumers.coordinator.submission import Known
from consumers.coordinator.transitions import State
from contracts import messages, topology
from contracts.errors import MessageError, Reason
from contracts.states import PauseReason
from contracts.steering import ExecutionSteered, PauseSet, SetPause, SteerExecution
from infra import database, outbox, pauses

REFUSALS = {
    "over": "is over; 'retry', 'rerun' or 'restart' opens it again",
    "duplicate": "stands so already",
    "not_started": "has not begun, so that there is nothing to do again",
    "not_failed": "has a step of that name that did not fail; use 'rerun' to do it again all the same",
}


async def steer(connection: database.Connection, state: State, requests: Sequence[Request]) -> Outcome:
    """Carries the commands of a batch out; each is answered, and one that cannot be carried out changes nothing."""
    outcome = Outcome()
    asked = [request for request in requests if isinstance(request.command, SteerExecution | SetPause)]
    if not asked:
        return outcome
    known = await intake.known_of(connection, asked)
    for request in sorted(asked, key=_execution):
        try:
            if isinstance(request.command, SteerExecution):
                done = await _steer(connection, state, request, request.command, known)
            elif isinstance(request.command, SetPause):
                done = await _set_pause(connection, request, request.command, known)
            else:
                continue
            outcome.add(done)
        except MessageError as error:
            answers = await intake.rejected(connection, request.delivery, error, None)
            outcome.owed += await outbox.insert(connection, answers)
    return outcome


def _execution(request: Request) -> str:
    """Executions are locked in the order of their ids, whatever the order of the commands."""
    return str(request.command.execution_id) if isinstance(request.command, SteerExecution) else ""


async def _steer(
    connection: database.Connection, state: State, request: Request, command: SteerExecution, known: Known
) -> Outcome:
    await intake.check_owner(connection, request, command.execution_id, known)
    outcome = await transitions.apply(connection, state, [_fact(command, request.delivery.user_id or "")])
    for reason in outcome.ignored:
        told = REFUSALS.get(reason, f"has no step '{command.step}'; see 'factory executions show'")
        raise MessageError(Reason.NOT_POSSIBLE, f"{command.action}: execution {command.execution_id} {told}")
    if request.delivery.reply_to is not None:
        (after,) = (after.execution for _, after in outcome.changed)
        steered = ExecutionSteered(execution_id=after.id, action=command.action, status=after.status, epoch=after.epoch)
        answer = replies.answer(steered, request.delivery.reply_to, request.correlation_id)
        outcome.owed += await outbox.insert(connection, [answer])
    return outcome


def _fact(command: SteerExecution, actor: str) -> facts.Fact:
    match command.action:
        case "pause":
            return facts.Paused(command.execution_id, PauseReason.OPERATOR, actor, command.note)
        case "resume":
            return facts.Resumed(command.execution_id, None, actor, command.note)
        case "restart":
            return facts.Reopened(command.execution_id, None, "restart", actor=actor, note=command.note)
    if command.step is None:
        raise MessageError(
            Reason.INVALID_MESSAGE, f"field 'step' is missing; {command.action} needs the name of a step"
        )
    keep = command.action == "retry"
    return facts.Reopened(
        command.execution_id, (command.step,), command.action, keep=keep, actor=actor, note=command.note
    )


async def _set_pause(connection: database.Connection, request: Request, command: SetPause, known: Known) -> Outcome:
    user = request.delivery.user_id or ""
    if user not in known.services:
        raise MessageError(
            Reason.FORBIDDEN,
            f"broker user '{user}' may not pause a {command.kind}; connect as a service user",
        )
    if not await pauses.known(connection, command.kind, command.name):
        raise MessageError(
            Reason.UNKNOWN_STAGE if command.kind == "stage" else Reason.UNKNOWN_CLIENT,
            f"field 'name' is '{command.name}': there is no {command.kind} of that name",
        )
    if command.paused:
        await pauses.add(connection, command.kind, command.name, user, command.note)
    else:
        await pauses.remove(connection, command.kind, command.name)
    owed = []
    if command.kind == "stage":
        snapshot = messages.ControlSnapshot(paused_stages=await pauses.stages(connection))
        owed.append(outbox.owed(snapshot, routing_key=topology.CONTROL))
    if request.delivery.reply_to is not None:
        done = PauseSet(kind=command.kind, name=command.name, paused=command.paused)
        owed.append(replies.answer(done, request.delivery.reply_to, request.correlation_id))
    return Outcome(owed=await outbox.insert(connection, owed))
