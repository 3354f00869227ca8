"""Ends of tasks that fall into the same moment, told in one message for each tier.

A task that ends by itself is told at once and alone. Under load many end in one turn of the event loop, and the broker,
which pays for messages rather than for bytes, carries one instead of all of them.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterator, Sequence

from contracts import bundles, encoding, messages, topology
from contracts.bundles import TasksEnded
from contracts.messages import StageCompleted, StageFailed
from contracts.tiers import Tier
from infra import tracing
from infra.publisher import Outgoing

MOST = 32
MOST_BYTES = encoding.LIMIT - 1024
"""Of the events in one message, whose own parts take less than the rest."""

Publish = Callable[[Outgoing], Awaitable[None]]


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """An event that waits to leave; ``done`` is set when the broker has it."""

    event: messages.TaskMessage
    body: bytes
    traceparent: str | None
    done: "asyncio.Future[None]"


class Teller:
    """Sends what is told to it with as few messages as possible and without delay."""

    def __init__(self, publish: Publish) -> None:
        """``publish`` returns when the message is confirmed; what it raises is raised to all whose events it held."""
        self._publish = publish
        self._waiting: dict[Tier, list[Told]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def tell(self, tier: Tier, event: messages.TaskMessage, body: bytes, traceparent: str | None) -> None:
        """Returns when the broker has taken the event, whose encoding is ``body``; only ends are told together."""
        loop = asyncio.get_running_loop()
        told = Told(event, body, traceparent, loop.create_future())
        if not isinstance(event, StageCompleted | StageFailed):
            await self._publish(_message(tier, [told]))
            return
        if not self._waiting:
            loop.call_soon(self._send)
        self._waiting.setdefault(tier, []).append(told)
        await told.done

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for tier, line in waiting.items():
            for together in _fitting(line):
                task = asyncio.create_task(self._send_together(tier, together))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    async def _send_together(self, tier: Tier, together: Sequence[Told]) -> None:
        try:
            await self._publish(_message(tier, together))
        except Exception as error:
            for told in together:
                if not told.done.done():
                    told.done.set_exception(error)
            return
        for told in together:
            if not told.done.done():
                told.done.set_result(None)


def _fitting(line: Sequence[Told]) -> Iterator[list[Told]]:
    """The line in pieces that fit a message each."""
    piece: list[Told] = []
    size = 0
    for told in line:
        if piece and (len(piece) == MOST or size + len(told.body) >= MOST_BYTES):
            yield piece
            piece, size = [], 0
        piece.append(told)
        size += len(told.body) + 1
    if piece:
        yield piece


def _message(tier: Tier, together: Sequence[Told]) -> Outgoing:
    key = topology.event_key(tier)
    if len(together) == 1:
        (told,) = together
        return Outgoing(
            topology.EVENTS,
            key,
            type(told.event).__name__,
            told.body,
            correlation_id=str(told.event.execution_id),
            traceparent=told.traceparent,
        )
    completed = [told for told in together if isinstance(told.event, StageCompleted)]
    failed = [told for told in together if not isinstance(told.event, StageCompleted)]
    headers: dict[str, int | str] = {topology.BUNDLED: len(together)}
    if tracing.on():
        headers[topology.TRACEPARENTS] = ",".join(told.traceparent or "" for told in (*completed, *failed))
    body = bundles.bundle([told.body for told in completed], [told.body for told in failed])
    return Outgoing(topology.EVENTS, key, TasksEnded.__name__, body, headers=headers)
