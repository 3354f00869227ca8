"""Executions of paused clients: held as soon as the client is paused, released when he goes on."""

import asyncio
from contextlib import suppress

from consumers.coordinator import sweeper
from consumers.coordinator.desk import Desk
from consumers.coordinator.engine import facts
from contracts.states import PauseReason
from infra import pauses

LIMIT = 200
"""Executions in one transaction, so that it stays short."""


async def hold(desk: Desk) -> None:
    """Makes executions follow the pauses of their clients, for ever."""
    while True:
        await sweeper.attempt(desk, "pauses", _follow)
        with suppress(TimeoutError):
            async with asyncio.timeout(desk.settings.sweep_seconds):
                await desk.pauses.wait()
        desk.pauses.clear()


async def _follow(desk: Desk) -> None:
    more = True
    while more:
        async with desk.state.pool.acquire() as connection:
            held = await pauses.to_hold(connection, LIMIT)
            released = await pauses.to_release(connection, LIMIT)
        told: list[facts.Fact] = [facts.Paused(execution_id, PauseReason.CLIENT) for execution_id in held]
        told += [facts.Resumed(execution_id, PauseReason.CLIENT) for execution_id in released]
        applied = await sweeper.advance(desk, told) if told else 0
        if applied:
            desk.admission.set()
        # What cannot be applied is found again; the next look is soon enough for it.
        more = applied > 0 and LIMIT in (len(held), len(released))
