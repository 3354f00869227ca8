"""Hearing what passes an exchange, beside those who work on it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable

from infra import broker
from infra.delivery import Delivery

PREFETCH = 500


@contextlib.asynccontextmanager
async def listen(
    url: str, *, name: str, bindings: Iterable[tuple[str, str]], hear: Callable[[Delivery], None]
) -> AsyncIterator[None]:
    """Hands every message of these exchanges and routing keys to ``hear`` while the context lasts.

    The queue is this connection's own and goes with it. A lost connection ends the hearing and nothing else.
    """
    inbox: asyncio.Queue[Delivery] = asyncio.Queue()

    async def settle() -> None:
        while True:
            delivery = await inbox.get()
            hear(delivery)
            await delivery.ack()

    async with broker.connect(url, name=name) as connection:
        queue = await connection.declare_reply_queue(bindings)
        await connection.consume(queue, inbox.put_nowait, prefetch=PREFETCH)
        settling = asyncio.create_task(settle())
        try:
            yield
        finally:
            settling.cancel()
            await asyncio.gather(settling, return_exceptions=True)
