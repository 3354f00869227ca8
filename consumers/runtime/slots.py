"""The places in which a worker process does tasks at the same time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable


class Slots:
    """A fixed number of places, or all of them for one task that must run alone."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.used = 0
        self._leaving = 0
        self._exclusive = False
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def free(self) -> int:
        """Places that a task could take now."""
        return 0 if self._exclusive else self.number - self.used

    async def take(self) -> None:
        """Waits for a place and takes it."""
        await self._until(lambda: self.free > 0)
        self.used += 1

    def release(self) -> None:
        """Gives a place back."""
        self.used -= 1
        self._changed()

    def leave(self) -> None:
        """Gives a place back for the next task while the one that had it is still being settled; ``left`` ends that."""
        self._leaving += 1
        self.release()

    def left(self) -> None:
        """What was done in a place that was given back is settled."""
        self._leaving -= 1
        self._changed()

    async def idle(self) -> None:
        """Waits until no place is in use and all that was done in one is settled."""
        await self._until(lambda: self.used == 0 and self._leaving == 0)

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """For the holder of a place: the others are done when it begins, and none begins before it ends.

        Several may ask for it, one after the other has it.
        """
        await self._become_alone()
        try:
            yield
        finally:
            self._exclusive = False
            self._changed()

    async def _become_alone(self) -> None:
        # Its own place counts for nothing meanwhile: of several who ask, each would wait for the others' places.
        self.used -= 1
        self._changed()
        asked = False
        try:
            await self._until(lambda: not self._exclusive)
            self._exclusive = asked = True
            await self._until(lambda: self.used == 0 and self._leaving == 0)
        except BaseException:
            self._exclusive = self._exclusive and not asked
            raise
        finally:
            self.used += 1
            self._changed()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Returns in the moment in which the condition holds; nothing else runs before the caller goes on."""
        while not condition():
            change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(change)
            await change

    def _changed(self) -> None:
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():
                change.set_result(None)


class Place:
    """The place of one task, which the next one may have as soon as the work is done, before it is settled."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._left = False

    def leave(self) -> None:
        """The work is done."""
        self._left = True
        self._slots.leave()

    def close(self) -> None:
        """It is settled, however it ended."""
        if self._left:
            self._slots.left()
        else:
            self._slots.release()
