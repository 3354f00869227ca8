"""The spans of a coordinator: jobs accepted, tasks offered, events settled, executions finished.

All spans of an execution are of the trace that its row names: the client's, or one that begins with its acceptance.
Without tracing every function here is one look, and what it returns is empty.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from uuid import UUID

from consumers.coordinator.engine.effects import Offer
from consumers.coordinator.outcome import Outcome
from contracts import topology
from contracts.executions import Execution
from contracts.messages import Message, StageCompleted, StageFailed, SubmitJob
from infra import tracing
from infra.delivery import BrokerError, Delivery, UnroutableError
from infra.tracing import Kind, Span

Parents = Mapping[UUID, str]
"""By execution the context of what is done for it now; where there is none, that of the execution."""

NONE: Parents = MappingProxyType({})

Good = tuple[Delivery, Message]

_RABBITMQ: Mapping[str, tracing.Value] = MappingProxyType({"messaging.system": "rabbitmq"})


def accepting(good: Sequence[Good]) -> tuple[list[Good], list[Span]]:
    """The commands of a batch, every job with a trace to belong to, and the spans that have begun.

    A job that names no trace, or something that is none, gets one of its own, whether spans are made or not.
    """
    commands: list[Good] = []
    spans: list[Span] = []
    for delivery, command in good:
        if not isinstance(command, SubmitJob):
            commands.append((delivery, command))
            continue
        span = _accept(command, delivery.traceparent, {"messaging.destination.name": delivery.queue})
        spans.append(span)
        context = span.traceparent or delivery.traceparent or tracing.fresh()
        commands.append((delivery._replace(headers={**delivery.headers, "traceparent": context}), command))
    return commands, spans


def _accept(job: SubmitJob, parent: str | None, attributes: tracing.Attributes) -> Span:
    if not tracing.on():
        return tracing.NONE
    told = {
        **_RABBITMQ,
        "messaging.operation.type": "process",
        "messaging.operation.name": "accept",
        "factory.client": job.client,
        "factory.template": job.template,
        **attributes,
    }
    return tracing.start("accept", Kind.CONSUMER, parent, told)


def accepted(spans: Iterable[Span], outcomes: Sequence[Outcome]) -> None:
    """Ends the spans of jobs whose answers are stored."""
    if not tracing.on():
        return
    executions: dict[str | None, UUID] = {}
    for outcome in outcomes:
        executions.update(outcome.accepted)
    for span in spans:
        found = executions.get(span.traceparent)
        if found is None:
            span.fail("rejected")
        else:
            span.note({"factory.execution_id": str(found)})
        span.end()


def scheduled(schedule: str) -> Span:
    """The span of a job that the factory submits itself; it begins a trace."""
    return tracing.start("accept", Kind.INTERNAL, None, {"factory.schedule": schedule})


def offering(offers: Sequence[Offer], parents: Parents) -> list[Span]:
    """The spans of publishes, to be ended with their confirms; none without tracing."""
    if not tracing.on():
        return []
    return [_offer(offer, parents.get(offer.task.execution_id) or offer.traceparent) for offer in offers]


def _offer(offer: Offer, parent: str | None) -> Span:
    if parent is None:
        # An execution of a time without traces: a span of its own would belong to nothing.
        return tracing.NONE
    task = offer.task
    queue = topology.stage_queue(task.stage, task.context.tier)
    attributes = {
        **tracing.of_task(task),
        "messaging.operation.type": "send",
        "messaging.operation.name": "offer",
        "messaging.destination.name": f"{topology.STAGES}:{queue}",
        "messaging.rabbitmq.destination.routing_key": queue,
        "messaging.message.body.size": len(offer.body),
    }
    return tracing.start(f"offer {task.stage}", Kind.PRODUCER, parent, attributes)


def refused(spans: Sequence[Span], refusals: Sequence[BrokerError | UnroutableError | None]) -> None:
    """Marks the spans of publishes that were not confirmed."""
    for span, refusal in zip(spans, refusals, strict=False):
        if refusal is not None:
            span.fail(type(refusal).__name__)


def settled(outcomes: Sequence[Outcome], items: Sequence[Good], began: float) -> Parents:
    """For each execution that a committed batch has moved the context of its span, the parent of what follows.

    The span belongs to the first attempt that ended, and is linked to the others that the batch has settled with it.
    Starts and progress alone make none. ``began`` is when the batch was taken, by the monotonic clock.
    """
    if not tracing.on():
        return NONE
    ends: dict[UUID, list[tuple[Delivery, StageCompleted | StageFailed]]] = {}
    for delivery, event in items:
        if isinstance(event, StageCompleted | StageFailed):
            ends.setdefault(event.execution_id, []).append((delivery, event))
    moved = {after.id: after.execution for outcome in outcomes for _, after in outcome.changed}
    seconds = time.monotonic() - began
    return {found: _settle(moved[found], told, seconds) for found, told in ends.items() if found in moved}


def _settle(execution: Execution, ends: Sequence[tuple[Delivery, StageCompleted | StageFailed]], seconds: float) -> str:
    contexts = list(dict.fromkeys(found for delivery, _ in ends if (found := delivery.traceparent) is not None))
    parent = contexts[0] if contexts else execution.traceparent
    if parent is None:
        return ""
    delivery, event = ends[0]
    attributes: dict[str, tracing.Value] = {
        **_of(execution),
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "process",
        "messaging.operation.name": "settle",
        "messaging.destination.name": delivery.queue,
        "messaging.batch.message_count": len(ends),
        "factory.step": event.step,
        "factory.shard": event.shard,
        "factory.attempt": event.attempt,
    }
    span = tracing.start("settle", Kind.CONSUMER, parent, attributes, contexts[1:], seconds)
    span.end()
    return span.traceparent or ""


def finishing(outcome: Outcome, parents: Parents) -> list[Span]:
    """The spans of executions that are over, to be ended when it is told to whoever waits for them."""
    if not tracing.on():
        return []
    spans = []
    for execution, message in outcome.finished:
        attributes: dict[str, tracing.Value] = {
            **_of(execution),
            "factory.status": message.status.value,
            "factory.deliverables": len(message.deliverables),
        }
        if (parent := parents.get(execution.id) or execution.traceparent) is not None:
            spans.append(tracing.start("finish", Kind.PRODUCER, parent, attributes))
    return spans


@contextlib.contextmanager
def ending(spans: Iterable[Span]) -> Iterator[None]:
    """Ends spans with the block, also when the coordinator is stopped in it: what was sent has its way by itself."""
    try:
        yield
    finally:
        for span in spans:
            span.end()


def _of(execution: Execution) -> dict[str, tracing.Value]:
    return {
        "factory.execution_id": str(execution.id),
        "factory.epoch": execution.epoch,
        "factory.client": execution.client,
        "factory.tier": execution.tier.value,
        "factory.template": execution.template,
    }
