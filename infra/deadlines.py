"""Deadlines for calls into libraries that lose cancellations."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Raises TimeoutError when the time is over, and asyncio.CancelledError after a call that swallowed one.

    Python 3.11's ``asyncio.wait_for``, on which aiormq rests, hands over a result that arrives in the same moment as a
    cancellation and forgets the latter: a loop that was told to end would go on for ever.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    async with asyncio.timeout(seconds):
        yield
        if task and task.cancelling() > before:
            raise asyncio.CancelledError
