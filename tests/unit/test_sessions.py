"""The end of a session: nothing of it goes on, whatever becomes of its cancellation."""

import asyncio

import pytest

from consumers import sessions


class RollbackError(Exception):
    """What the database says when a transaction cannot be rolled back."""


async def stubborn(lost: int, begun: asyncio.Event) -> None:
    """A loop that lives with faults of the database, and to whom so many cancellations arrive as such faults."""
    forever = asyncio.Event()
    while True:
        try:
            begun.set()
            try:
                await forever.wait()
            except asyncio.CancelledError:
                if lost <= 0:
                    raise
                lost -= 1
                raise RollbackError from None
        except RollbackError:
            continue


async def test_what_loses_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "CANCEL_AGAIN_SECONDS", 0.01)
    begun = [asyncio.Event(), asyncio.Event()]
    tasks = [asyncio.create_task(stubborn(lost, event)) for lost, event in zip((0, 3), begun, strict=True)]
    for event in begun:
        await event.wait()
    async with asyncio.timeout(10):
        await sessions.end(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_what_failed_already_keeps_its_error() -> None:
    async def fail() -> None:
        raise RollbackError

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    await sessions.end([task])
    with pytest.raises(RollbackError):
        task.result()
