"""Turns at a model, shared by all workers: so many calls at once, so many requests and tokens a minute."""

import asyncio
import contextlib
import dataclasses
import random
import time
from collections.abc import AsyncIterator
from uuid import UUID

import structlog

from contracts.errors import OutageError
from infra import database, faults, identifiers, metrics, turns
from infra.llm.faults import GivenUpError
from infra.llm.options import Options

LONGEST_WAIT = 30.0
"""Seconds for which a model is waited for that asked to be left alone, or that is busy while another may be free."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two looks for a free slot: the pause grows with the wait."""

GRACE = 15.0
"""Seconds that a turn is held beyond the time-out of its call before it is taken from a process that died."""

log = structlog.get_logger()

_CHANCE = random.SystemRandom()


@dataclasses.dataclass
class Turn:
    """A call that may be made now; ``requests`` and ``tokens`` are what was booked and has not been used."""

    requests: int
    tokens: int

    def used(self, tokens: int | None) -> None:
        """The call was made and used so many tokens; None where nobody knows, and all that was booked counts."""
        self.requests = 0
        self.tokens = 0 if tokens is None else self.tokens - tokens


class Limits:
    """The limits of all models, as one process keeps to them."""

    def __init__(self, pool: database.Pool, options: Options) -> None:
        self._pool = pool
        self._options = options
        self._limits = turns.Limits(options.concurrency, options.requests_per_minute, options.tokens_per_minute)
        # So that no more callers of this process look for a free slot than there are slots.
        self._here: dict[str, asyncio.Semaphore] = {}

    @contextlib.asynccontextmanager
    async def turn(self, model: str, tokens: int, patience: float) -> AsyncIterator[Turn]:
        """Waits for a turn to make one call of about so many tokens; holds it while the context lasts.

        Raises GivenUpError if none comes within ``patience`` seconds, and OutageError if the database is away.
        """
        began = time.monotonic()
        here = self._here.setdefault(model, asyncio.Semaphore(self._options.concurrency))
        try:
            await asyncio.wait_for(here.acquire(), patience)
        except TimeoutError:
            raise GivenUpError(f"it had no free slot within {patience:.0f} s") from None
        try:
            call = identifiers.new()
            await self._taken(call, model, tokens, began + patience)
            metrics.LLM_WAIT.labels(model).observe(time.monotonic() - began)
            turn = Turn(1, tokens)
            try:
                yield turn
            finally:
                await self._give_back(call, turn)
        finally:
            here.release()

    async def leave_alone(self, model: str, seconds: float) -> None:
        """Has no process ask the model for so many seconds."""
        async with self._connected() as connection:
            await turns.leave_alone(connection, model, seconds)

    async def _taken(self, call: UUID, model: str, tokens: int, until: float) -> None:
        pause = FIRST_PAUSE
        while True:
            left = max(until - time.monotonic(), 0.0)
            async with self._connected() as connection:
                hold = self._options.seconds + GRACE
                told = await turns.take(connection, call, model, self._limits, tokens, left, hold)
            if told.granted:
                await self._booked(call, told.wait, tokens)
                return
            if told.wait > min(left, LONGEST_WAIT):
                raise GivenUpError(f"it takes no more calls for {told.wait:.0f} s")
            if left == 0:
                raise GivenUpError("it had no free slot in time")
            await asyncio.sleep(min(told.wait or pause * _CHANCE.uniform(0.7, 1.3), left))
            pause = min(LONGEST_PAUSE, 1.5 * pause)

    async def _booked(self, call: UUID, wait: float, tokens: int) -> None:
        """Waits until a booked turn begins; gives it back if the caller does not wait that long."""
        try:
            await asyncio.sleep(wait)
        except asyncio.CancelledError:
            await self._give_back(call, Turn(1, tokens))
            raise

    async def _give_back(self, call: UUID, turn: Turn) -> None:
        try:
            async with self._connected() as connection:
                await turns.give_back(connection, call, turn.requests, turn.tokens)
        except OutageError as error:
            # It expires by itself, and what was asked is worth more than the turn.
            log.warning("llm_turn_not_given_back", call=str(call), error=faults.told(error))

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[database.Connection]:
        try:
            async with self._pool.acquire() as connection:
                yield connection
        except (database.Failure, *database.UNAVAILABLE) as error:
            raise OutageError(f"the limits of language models cannot be read: {error!r}") from error
