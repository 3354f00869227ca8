"""How running executions progress, told to whoever watches and owed to nobody."""

from consumers.coordinator import replies
from consumers.coordinator.desk import Desk
from consumers.coordinator.engine.snapshot import Snapshot
from contracts import encoding, messages, topology
from contracts.errors import MessageError
from contracts.states import EXECUTION_OVER, StepStatus
from infra import failpoints
from infra.failpoints import Failpoint

SECONDS = 1.0
"""An execution is told about at most this often, and not at all if it is over sooner."""

_DONE = (StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED)


async def notify(desk: Desk) -> None:
    """Publishes the latest state of every execution that has changed and is not over."""
    changed, desk.changed = desk.changed, {}
    for snapshot in changed.values():
        execution = snapshot.execution
        if execution.status in EXECUTION_OVER:
            continue
        try:
            body = encoding.encode(progressed(snapshot))
        except MessageError:
            continue  # a template of hundreds of steps can be too large to tell; the database still tells it
        failpoints.reach(Failpoint.NOTIFICATION_PUBLISHING)
        await desk.publisher.publish(
            topology.NOTIFICATIONS,
            replies.notification_key(execution),
            messages.ExecutionProgressed.__name__,
            body,
            correlation_id=str(execution.id),
            traceparent=execution.traceparent,
            persistent=False,
            mandatory=False,
        )
        failpoints.reach(Failpoint.NOTIFICATION_PUBLISHED)


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
