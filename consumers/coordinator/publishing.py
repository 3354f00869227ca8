"""Publishing what a committed transaction owes. What cannot be published stays a row, and the sweeper comes for it."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog

from contracts import encoding, topology
from contracts.messages import StageTask, TaskKey
from infra import database, dead_letters, dead_operations, executions, failpoints, outbox
from infra.broker import Publisher
from infra.delivery import BrokerError, UnroutableError
from infra.failpoints import Failpoint
from infra.outbox import Owed

log = structlog.get_logger()


async def publish_tasks(
    publisher: Publisher, tasks: Sequence[StageTask], traces: Mapping[UUID, str | None], unroutable: asyncio.Event
) -> list[TaskKey]:
    """Offers tasks on their stages' queues, all at once; returns those that the broker has confirmed.

    Sets ``unroutable`` if a queue or its binding is missing.
    """
    results = await asyncio.gather(
        *(_publish_task(publisher, task, traces.get(task.execution_id), unroutable) for task in tasks)
    )
    return [task.key for task, done in zip(tasks, results, strict=True) if done]


async def _publish_task(publisher: Publisher, task: StageTask, trace: str | None, unroutable: asyncio.Event) -> bool:
    failpoints.reach(Failpoint.TASK_PUBLISHING)
    try:
        await publisher.publish(
            topology.STAGES,
            topology.stage_queue(task.stage, task.context.tier),
            "StageTask",
            encoding.encode(task),
            correlation_id=str(task.execution_id),
            traceparent=trace,
        )
    except (BrokerError, UnroutableError) as error:
        log.warning("task_not_published", task=task.key, stage=task.stage, error=str(error))
        if isinstance(error, UnroutableError):
            unroutable.set()
        return False
    failpoints.reach(Failpoint.TASK_PUBLISHED)
    return True


async def publish_owed(pool: database.Pool, publisher: Publisher, items: Sequence[Owed]) -> None:
    """Publishes stored messages and forgets those that are confirmed, or that nobody can receive any more."""
    results = await asyncio.gather(*(_publish_owed(publisher, item) for item in items))
    done = [item for item, result in zip(items, results, strict=True) if result is not None]
    unroutable = [item for item, result in zip(items, results, strict=True) if result is False]
    if not done:
        return
    async with pool.acquire() as connection, connection.transaction():
        await outbox.delete(connection, [item.id for item in done])
        if returned := [mark for item in unroutable if isinstance(mark := item.headers.get(dead_letters.MARK), int)]:
            await dead_operations.reopen(connection, returned, "no queue takes it any more; run 'factory migrate'")
        facts = [
            (item.execution_id, "reply_unroutable", None, None, None, "coordinator", {"message": item.message_type})
            for item in unroutable
            if item.execution_id is not None
        ]
        if facts:
            await executions.insert_timeline(connection, facts)
        failpoints.reach(Failpoint.OWED_FORGETTING)
    failpoints.reach(Failpoint.OWED_FORGOTTEN)


async def _publish_owed(publisher: Publisher, item: Owed) -> bool | None:
    """True if confirmed, False if nobody can receive it, None if it is still owed."""
    failpoints.reach(Failpoint.OWED_PUBLISHING)
    try:
        await publisher.publish(
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
    except UnroutableError as error:
        log.info("reply_unroutable", message=item.message_type, execution=str(item.execution_id), error=str(error))
        return False
    except BrokerError as error:
        log.warning("owed_not_published", message=item.message_type, error=str(error))
        return None
    failpoints.reach(Failpoint.OWED_PUBLISHED)
    return True
