"""How running executions progress, told to whoever watches and owed to nobody."""

from consumers.coordinator import replies
from consumers.coordinator.desk import Desk
from consumers.coordinator.engine.snapshot import Snapshot
from contracts import encoding, messages, topology
from contracts.errors import MessageError
from contracts.states import EXECUTION_OVER, StepStatus
from infra import failpoints
from infra.failpoints import Failpoint
from infra.publisher import Outgoing

SECONDS = 1.0
"""An execution is told about at most this often, and not at all if it is over sooner."""

MOST = 100
"""Executions told about each time: where thousands run, the work itself needs the broker more than their watchers."""

_DONE = (StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED)


async def notify(desk: Desk) -> None:
    """Publishes the latest state of executions that have changed and are not over, the longest untold first."""
    told: list[Outgoing] = []
    while desk.changed and len(told) < MOST:
        snapshot = desk.changed.pop(next(iter(desk.changed)))
        if snapshot.execution.status not in EXECUTION_OVER and (message := _told(snapshot)) is not None:
            told.append(message)
    failpoints.reach(Failpoint.NOTIFICATIONS_PUBLISHING)
    refusals = await desk.publisher.publish_all(told)
    failpoints.reach(Failpoint.NOTIFICATIONS_PUBLISHED)
    for refusal in refusals:
        if refusal is not None:
            raise refusal


def _told(snapshot: Snapshot) -> Outgoing | None:
    try:
        body = encoding.encode(progressed(snapshot))
    except MessageError:
        return None  # a template of hundreds of steps can be too large to tell; the database still tells it
    return Outgoing(
        topology.NOTIFICATIONS,
        replies.notification_key(snapshot.execution),
        messages.ExecutionProgressed.__name__,
        body,
        correlation_id=str(snapshot.id),
        traceparent=snapshot.execution.traceparent,
        persistent=False,
        mandatory=False,
    )


def progressed(snapshot: Snapshot) -> messages.ExecutionProgressed:
    """The state of an execution and of each of its steps."""
    steps = {}
    for row in snapshot.rows.values():
        if row.shard == 0:
            total = row.shards
            # Shards are counted only where they are touched; elsewhere their number is not known, rather than nought.
            done = snapshot.shards(row.step, *_DONE) if row.step in snapshot.counts else None
            steps[row.step] = messages.StepState(status=row.status, fraction=row.fraction, done=done, total=total)
    return messages.ExecutionProgressed(
        execution_id=snapshot.id, client=snapshot.execution.client, status=snapshot.execution.status, steps=steps
    )
