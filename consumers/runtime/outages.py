"""Outlasting short outages of the servers that every task needs."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from contracts.errors import OutageError

R = TypeVar("R")

PATIENCE = 20.0
"""Seconds; what is away for longer gives the place in the worker back, and the task is offered again later."""

_BASE, _CAP = 0.1, 2.0
_CHANCE = random.SystemRandom()


async def outlast(call: Callable[[], Awaitable[R]]) -> R:
    """The result of the call, which is made again while a server is away; raises OutageError when patience is over.

    What a task has worked out, and perhaps paid for, is not thrown away because the store is starting again.
    """
    until = time.monotonic() + PATIENCE
    pause = _BASE
    while True:
        try:
            return await call()
        except OutageError:
            if time.monotonic() + pause > until:
                raise
        await asyncio.sleep(_CHANCE.random() * pause)
        pause = min(_CAP, 2 * pause)
