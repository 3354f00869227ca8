"""What one execution costs the broker, measured beside the factory and not told by it.

A queue of the meter's own is bound to the exchanges through which jobs, tasks, events and notifications pass, so it
gets a copy of every body that is published there, repeats included. Two kinds of messages go past these exchanges to
the queue of whoever submitted, the acceptance and the end; he has them and adds them. Heartbeats are no execution's.

Documents are known by the references in these messages: each distinct one counts once, with its size before any
encoding. Manifests, which hold nothing but references, do not count as documents.
"""

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any
from uuid import UUID

from contracts import encoding, messages, topology
from contracts.bundles import TasksEnded
from contracts.errors import FactoryError, MessageError
from infra.delivery import Delivery
from producer import listening

EXCHANGES = (topology.JOBS, topology.STAGES, topology.EVENTS, topology.NOTIFICATIONS)
_MANIFEST = "manifest"


@dataclasses.dataclass(slots=True)
class Tally:
    """The bodies of one execution, their sizes in bytes, and the documents that they name, by hash with theirs."""

    number: int = 0
    size: int = 0
    largest: int = 0
    documents: dict[str, int] = dataclasses.field(default_factory=dict)

    def add(self, body: bytes) -> None:
        """Counts one published body."""
        self.add_parts([body], len(body))

    def add_parts(self, parts: Sequence[bytes], whole: int) -> None:
        """Counts a published body of that size by its parts that are this execution's."""
        self.number += 1
        self.size += sum(map(len, parts))
        self.largest = max(self.largest, whole)
        for part in parts:
            self.documents.update(references(json.loads(part)))


class Meter:
    """Tallies of everything that passes while it is bound."""

    def __init__(self) -> None:
        self._executions: dict[UUID, Tally] = {}
        self._jobs: dict[str, bytes] = {}
        self._over: dict[UUID, asyncio.Event] = {}

    def hear(self, delivery: Delivery) -> None:
        """Counts a message if it is one of the factory's."""
        try:
            message = encoding.decode(delivery.type, delivery.body)
        except MessageError:
            return
        if isinstance(message, messages.SubmitJob):
            self._jobs[message.submit_key] = delivery.body
        elif isinstance(message, TasksEnded):
            parts: dict[UUID, list[bytes]] = {}
            for event in (*message.completed, *message.failed):
                parts.setdefault(event.execution_id, []).append(encoding.encode(event))
            for execution_id, own in parts.items():
                self._executions.setdefault(execution_id, Tally()).add_parts(own, len(delivery.body))
        elif isinstance(message, messages.TaskMessage | messages.ExecutionFinished | messages.ExecutionProgressed):
            self._executions.setdefault(message.execution_id, Tally()).add(delivery.body)
            if isinstance(message, messages.ExecutionFinished):
                self._ended(message.execution_id).set()

    def _ended(self, execution_id: UUID) -> asyncio.Event:
        return self._over.setdefault(execution_id, asyncio.Event())

    async def total(
        self, accepted: messages.JobAccepted, finished: messages.ExecutionFinished, seconds: float = 10.0
    ) -> Tally:
        """Everything about an execution, once its end was heard here as well; raises FactoryError if it is not."""
        try:
            async with asyncio.timeout(seconds):
                await self._ended(accepted.execution_id).wait()
        except TimeoutError as error:
            raise FactoryError(
                "the meter heard nothing of the execution's end, so its counts would be too low"
            ) from error
        tally = self._executions[accepted.execution_id]
        for body in (self._jobs[accepted.submit_key], encoding.encode(accepted), encoding.encode(finished)):
            tally.add(body)
        return tally


def references(value: Any) -> Iterator[tuple[str, int]]:
    """Hash and size of every document that a message names, manifests left out."""
    if isinstance(value, dict):
        if "uri" in value and "sha256" in value:
            yield value["sha256"], value["size"]
        else:
            for name, item in value.items():
                if name != _MANIFEST:
                    yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


@contextlib.asynccontextmanager
async def measure(url: str) -> AsyncIterator[Meter]:
    """A meter that counts while the context lasts."""
    meter = Meter()
    everything = [(exchange, "#") for exchange in EXCHANGES]
    async with listening.listen(url, name="factory meter", bindings=everything, hear=meter.hear):
        yield meter
