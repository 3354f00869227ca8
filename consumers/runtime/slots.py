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
        """For the holder of a place: the others are done when it begins, and none begins before it ends.

        Several may ask for it, one after the other has it.
        """
        await self._become_alone()
        try:
            yield
        finally:
            async with self._changed:
                self._exclusive = False
                self._changed.notify_all()

    async def _become_alone(self) -> None:
        async with self._changed:
            # Its own place counts for nothing meanwhile: of several who ask, each would wait for the others' places.
            self.used -= 1
            self._changed.notify_all()
            asked = False
            try:
                await self._changed.wait_for(lambda: not self._exclusive)
                self._exclusive = asked = True
                self._changed.notify_all()
                await self._changed.wait_for(lambda: self.used == 0)
            except BaseException:
                self._exclusive = self._exclusive and not asked
                raise
            finally:
                self.used += 1
                self._changed.notify_all()
