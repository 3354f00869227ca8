"""Publishing what a committed transaction owes. What cannot be published stays a row, and the sweeper comes for it."""

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from consumers.coordinator import traces
from consumers.coordinator.engine.effects import Offer
from consumers.coordinator.traces import Parents
from contracts import topology
from contracts.messages import StageTask, TaskKey
from infra import database, dead_letters, dead_operations, executions, failpoints, faults, outbox
from infra.delivery import UnroutableError
from infra.failpoints import Failpoint
from infra.outbox import Owed
from infra.publisher import Outgoing, Publisher

log = structlog.get_logger()


async def publish_tasks(
    publisher: Publisher, tasks: Sequence[Offer], parents: Parents, unroutable: asyncio.Event
) -> list[TaskKey]:
    """Offers tasks on their stages' queues, all at once; returns those that the broker has confirmed.

    Sets ``unroutable`` if a queue or its binding is missing.
    """
    spans = traces.offering(tasks, parents)
    contexts = [span.traceparent for span in spans] or [offer.traceparent for offer in tasks]
    messages = [_offered(offer, context) for offer, context in zip(tasks, contexts, strict=True)]
    failpoints.reach(Failpoint.TASKS_PUBLISHING)
    with traces.ending(spans):
        refusals = await publisher.publish_all(messages)
        traces.refused(spans, refusals)
    failpoints.reach(Failpoint.TASKS_PUBLISHED)
    confirmed = []
    for offer, refusal in zip(tasks, refusals, strict=True):
        task = offer.task
        if refusal is None:
            confirmed.append(task.key)
            continue
        log.warning("task_not_published", task=task.key, stage=task.stage, error=faults.told(refusal))
        if isinstance(refusal, UnroutableError):
            unroutable.set()
    return confirmed


def _offered(offer: Offer, trace: str | None) -> Outgoing:
    task = offer.task
    return Outgoing(
        topology.STAGES,
        topology.stage_queue(task.stage, task.context.tier),
        StageTask.__name__,
        offer.body,
        correlation_id=str(task.execution_id),
        traceparent=trace,
    )


async def publish_owed(pool: database.Pool, publisher: Publisher, items: Sequence[Owed]) -> None:
    """Publishes stored messages and forgets those that are confirmed, or that nobody can receive any more."""
    failpoints.reach(Failpoint.OWED_PUBLISHING)
    refusals = await publisher.publish_all([_message(publisher, item) for item in items])
    failpoints.reach(Failpoint.OWED_PUBLISHED)
    unroutable: list[Owed] = []
    owed: set[int] = set()
    for item, refusal in zip(items, refusals, strict=True):
        told = {"message": item.message_type, "execution": str(item.execution_id), "error": str(refusal or "")}
        if isinstance(refusal, UnroutableError):
            log.info("reply_unroutable", **told)
            unroutable.append(item)
        elif refusal is not None:
            log.warning("owed_not_published", **told)
            owed.add(item.id)
    if len(owed) < len(items):
        await _forget(pool, [item for item in items if item.id not in owed], unroutable)


async def _forget(pool: database.Pool, done: Sequence[Owed], unroutable: Sequence[Owed]) -> None:
    failpoints.reach(Failpoint.OWED_FORGETTING)
    async with pool.acquire() as connection:
        # A statement alone is a transaction by itself, and one round trip instead of three.
        together = connection.transaction() if unroutable else contextlib.nullcontext()
        async with together:
            if unroutable:
                await _note_unroutable(connection, unroutable)
            await outbox.delete(connection, [item.id for item in done])
    failpoints.reach(Failpoint.OWED_FORGOTTEN)


async def _note_unroutable(connection: database.Connection, unroutable: Sequence[Owed]) -> None:
    if returned := [mark for item in unroutable if isinstance(mark := item.headers.get(dead_letters.MARK), int)]:
        await dead_operations.reopen(connection, returned, "no queue takes it any more; run 'factory migrate'")
    facts = [
        (item.execution_id, "reply_unroutable", None, None, None, "coordinator", {"message": item.message_type})
        for item in unroutable
        if item.execution_id is not None
    ]
    if facts:
        await executions.insert_timeline(connection, facts)


def _message(publisher: Publisher, item: Owed) -> Outgoing:
    return Outgoing(
        item.exchange,
        item.routing_key,
        item.message_type,
        item.body,
        correlation_id=item.correlation_id,
        reply_to=item.reply_to,
        user_id=publisher.user,
        traceparent=item.traceparent,
        headers=item.headers,
        mandatory=item.mandatory,
    )
