"""The places in which a worker process does tasks at the same time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Slots:
    """A fixed number of places, or all of them for one task that must run alone."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.used = 0
        self._changed = asyncio.Condition()
        self._exclusive = False

    @property
    def free(self) -> int:
        """Places that a task could take now."""
        return 0 if self._exclusive else self.number - self.used

    async def take(self) -> None:
        """Waits for a place and takes it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.free > 0)
            self.used += 1

    async def release(self) -> None:
        """Gives a place back."""
        async with self._changed:
            self.used -= 1
            self._changed.notify_all()

    async def idle(self) -> None:
        """Waits until no place is in use."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.used == 0)

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """For one holder of a place: the others are done when it begins, and none begins before it ends."""
        async with self._changed:
            self._exclusive = True
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: self.used <= 1)
            yield
        finally:
            async with self._changed:
                self._exclusive = False
                self._changed.notify_all()
