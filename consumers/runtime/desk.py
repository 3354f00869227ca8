"""What a worker process holds while its connections do: the tasks, and the ways to settle them."""

import asyncio
import collections
import dataclasses
import time
from uuid import UUID

import structlog

from consumers.runtime import outages
from consumers.runtime.telling import Teller
from consumers.runtime.work import Ended
from contracts import encoding, messages, topology
from contracts.errors import OutageError, Reason
from contracts.messages import StageTask, TaskKey
from contracts.tiers import Tier
from infra import failpoints
from infra.delivery import BrokerError, Delivery, UnroutableError
from infra.failpoints import Failpoint
from infra.publisher import Outgoing, Publisher

log = structlog.get_logger()

REMEMBERED = 10_000
"""Keys of settled tasks that are remembered, so that a copy that arrives late is not done twice by the same worker."""


@dataclasses.dataclass(slots=True)
class Held:
    """A task that is being done; ``estimate`` is how many seconds its stage usually takes, ``traceparent`` the context
    of what is told about it."""

    task: StageTask
    estimate: float
    traceparent: str | None = None
    since: float = dataclasses.field(default_factory=time.monotonic)
    accepted: bool = False
    cancelled_at: float | None = None
    attempt: asyncio.Task[Ended] | None = None


class Desk:
    """The tasks that are being done, and the worker's voice."""

    def __init__(self, worker: str, publisher: Publisher, *, log_completed: bool = True) -> None:
        """With ``log_completed`` each completed task is a line of the log at level info, else at level debug."""
        self.worker = worker
        self.log_completed = log_completed
        self.running: dict[TaskKey, Held] = {}
        self._publisher = publisher
        self._teller = Teller(self._publish)
        self._settled: collections.OrderedDict[TaskKey, None] = collections.OrderedDict()

    def knows(self, key: TaskKey) -> bool:
        """Whether this worker is doing the task, or has done it a while ago: then this delivery is a copy."""
        return key in self.running or key in self._settled

    def settled(self, key: TaskKey) -> None:
        """Remembers that the task's outcome has been told."""
        self._settled[key] = None
        if len(self._settled) > REMEMBERED:
            self._settled.popitem(last=False)

    def cancel(self, execution_id: UUID, epoch: int, steps: tuple[str, ...]) -> None:
        """Stops what is being done for an execution up to an epoch, for some steps of it or for all."""
        for key, held in self.running.items():
            if key.execution_id == execution_id and key.epoch <= epoch and (not steps or key.step in steps):
                held.cancelled_at = held.cancelled_at or time.monotonic()
                if held.attempt is not None:
                    held.attempt.cancel()

    async def tell(
        self, tier: Tier, event: messages.TaskMessage, traceparent: str | None, body: bytes | None = None
    ) -> None:
        """Publishes an event, encoded as ``body`` if it is already; when this returns the coordinator will get it.

        A queue that is gone is waited for, since a coordinator declares it again. Raises BrokerError if none does.
        """
        encoded = encoding.encode(event) if body is None else body
        try:
            await outages.outlast(lambda: self._teller.tell(tier, event, encoded, traceparent))
        except OutageError as error:
            # Without its queue no event can be told, so none may be acknowledged either.
            raise BrokerError(f"{error}; run 'factory migrate'") from error

    async def _publish(self, message: Outgoing) -> None:
        failpoints.reach(Failpoint.EVENTS_PUBLISHING)
        (refusal,) = await self._publisher.publish_all([message])
        failpoints.reach(Failpoint.EVENTS_PUBLISHED)
        if isinstance(refusal, UnroutableError):
            raise OutageError(str(refusal)) from refusal
        if refusal is not None:
            raise refusal

    async def bury(self, delivery: Delivery, reason: Reason, explanation: str) -> None:
        """Hands a message that nobody can use to the dead letters, with the reasons."""
        kept = {name: value for name, value in delivery.headers.items() if isinstance(value, str | int | float)}
        if delivery.traceparent is None:
            kept.pop("traceparent", None)
        headers = {
            **kept,
            "reason": reason.value,
            "explanation": explanation[:2000],
            "queue": delivery.queue,
            # Who dies before the acknowledgement buries it again, under another id of the publish.
            "message_id": delivery.message_id or "",
            "worker": self.worker,
        }
        failpoints.reach(Failpoint.POISON_PUBLISHING)
        try:
            await self._publisher.publish(
                topology.DEAD,
                delivery.routing_key,
                delivery.type or "",
                delivery.body,
                correlation_id=delivery.correlation_id,
                headers=headers,
            )
        except UnroutableError as error:
            raise BrokerError(f"{error}; run 'factory migrate'") from error
        failpoints.reach(Failpoint.POISON_PUBLISHED)
        await delivery.ack()
        failpoints.reach(Failpoint.POISON_ACKED)

    async def beat(self, beat: messages.WorkerHeartbeat) -> None:
        """Publishes a heartbeat; one that nobody reads in time is worth nothing, and the next one makes up for it."""
        failpoints.reach(Failpoint.BEAT_PUBLISHING)
        try:
            await self._publisher.publish(
                "",
                topology.HEARTBEATS,
                type(beat).__name__,
                encoding.encode(beat),
                persistent=False,
                expiration=topology.HEARTBEAT_SECONDS_TO_LIVE,
            )
        except UnroutableError as error:
            log.warning("heartbeat_not_taken", error=str(error))
        failpoints.reach(Failpoint.BEAT_PUBLISHED)
