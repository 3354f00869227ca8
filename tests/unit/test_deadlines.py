"""Deadlines keep what libraries lose."""

import asyncio

import pytest

from infra import deadlines


async def swallows() -> None:
    """Returns when it is cancelled, as Python 3.11's wait_for does if its result arrives in the same moment."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return


async def test_a_loop_around_a_call_that_swallows_its_cancellation_ends() -> None:
    async def loop() -> None:
        while True:
            async with deadlines.within(60):
                await swallows()

    task = asyncio.create_task(loop())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()


async def test_a_deadline_that_a_call_swallows_is_told() -> None:
    with pytest.raises(TimeoutError):
        async with deadlines.within(0.01):
            await swallows()


async def test_what_a_cancelled_task_does_to_clean_up_is_done_to_the_end() -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for part in ("one", "two"):
                async with deadlines.within(60):
                    done.append(part)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()
    assert done == ["one", "two"]
