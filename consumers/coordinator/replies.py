"""Messages to whoever waits for an execution: the answer to a job, its end, and the call to stop work."""

import re

from contracts import messages, topology
from contracts.executions import Execution
from contracts.steering import ExecutionSteered, PauseSet
from infra.outbox import Owed, owed

_CLIENT_BYTES = 200
"""Of a client's id in a routing key, which has 255 bytes."""

_REPLY_TO = re.compile(r"^(amq\.rabbitmq\.reply-to\.\S+|amq\.gen-\S+|reply\.\S+)$")


def allowed(reply_to: str | None) -> bool:
    """Whether answers may go there: a direct-reply, generated or ``reply.*`` queue, so that nobody writes into ours."""
    return reply_to is None or (len(reply_to) <= 255 and _REPLY_TO.match(reply_to) is not None)


Answer = messages.JobAccepted | messages.JobRejected | ExecutionSteered | PauseSet


def answer(message: Answer, reply_to: str, correlation_id: str | None, traceparent: str | None = None) -> Owed:
    """The answer to a job or a command, for the queue that it named."""
    return owed(message, routing_key=reply_to, correlation_id=correlation_id, traceparent=traceparent)


def finished(execution: Execution, message: messages.ExecutionFinished) -> list[Owed]:
    """The end of an execution, for whoever submitted it and for whoever watches."""
    told = [
        owed(
            message,
            exchange=topology.NOTIFICATIONS,
            routing_key=notification_key(execution),
            correlation_id=str(execution.id),
            traceparent=execution.traceparent,
            mandatory=False,
            execution_id=execution.id,
        )
    ]
    if execution.reply_to is not None:
        told.append(
            owed(
                message,
                routing_key=execution.reply_to,
                correlation_id=execution.correlation_id,
                traceparent=execution.traceparent,
                execution_id=execution.id,
            )
        )
    return told


def stop_work(execution: Execution, epoch: int, steps: tuple[str, ...]) -> Owed:
    """The call to every worker to stop what it does for this execution up to an epoch, of some steps or of all."""
    message = messages.CancelWork(execution_id=execution.id, epoch=epoch, steps=steps)
    return owed(
        message,
        routing_key=topology.CONTROL,
        correlation_id=str(execution.id),
        traceparent=execution.traceparent,
        execution_id=execution.id,
    )


def notification_key(execution: Execution) -> str:
    """Routing key of what is told about an execution; a client may bind to his own executions by his id."""
    # Routing keys are words between dots: a client's id must not add any.
    client = execution.client.replace(".", "_").encode()[:_CLIENT_BYTES].decode(errors="ignore")
    return f"execution.{client}.{execution.id}"
