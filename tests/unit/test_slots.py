"""The places of a worker process."""

import asyncio

import pytest

from consumers.runtime.slots import Place, Slots


async def settled() -> None:
    """Lets every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_no_more_places_are_taken_than_there_are() -> None:
    slots = Slots(2)
    takers = [asyncio.create_task(slots.take()) for _ in range(3)]
    await settled()
    assert ([taker.done() for taker in takers], slots.used, slots.free) == ([True, True, False], 2, 0)
    slots.release()
    await asyncio.gather(*takers)
    assert (slots.used, slots.free) == (2, 0)


async def test_who_gives_up_waiting_takes_no_place() -> None:
    slots = Slots(1)
    await slots.take()
    waiting = asyncio.create_task(slots.take())
    await settled()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    slots.release()
    assert slots.free == 1
    await asyncio.wait_for(slots.take(), 5)


async def test_idle_means_that_every_place_was_given_back() -> None:
    slots = Slots(3)
    await asyncio.wait_for(slots.idle(), 5)
    await slots.take()
    await slots.take()
    idle = asyncio.create_task(slots.idle())
    slots.release()
    await settled()
    assert not idle.done()
    slots.release()
    await asyncio.wait_for(idle, 5)


async def test_alone_begins_when_the_others_are_done_and_nobody_joins() -> None:
    slots = Slots(3)
    for _ in range(2):
        await slots.take()
    order: list[str] = []

    async def lonely() -> None:
        async with slots.alone():
            order.append("alone")
            await settled()
            order.append("done")

    async def later() -> None:
        await slots.take()
        order.append("later")

    alone = asyncio.create_task(lonely())
    await settled()
    joining = asyncio.create_task(later())
    await settled()
    assert (order, slots.free) == ([], 0)
    slots.release()
    await asyncio.wait_for(asyncio.gather(alone, joining), 5)
    assert order == ["alone", "done", "later"]
    assert slots.free == 1


async def test_who_gives_up_being_alone_lets_the_others_go_on() -> None:
    slots = Slots(2)
    for _ in range(2):
        await slots.take()

    async def lonely() -> None:
        async with slots.alone():
            raise AssertionError("the other place was never given back")

    alone = asyncio.create_task(lonely())
    await settled()
    assert slots.free == 0
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    slots.release()
    assert slots.free == 1


async def test_a_failure_while_alone_lets_the_others_go_on() -> None:
    slots = Slots(2)
    await slots.take()
    with pytest.raises(RuntimeError):
        async with slots.alone():
            raise RuntimeError
    assert slots.free == 1


async def test_several_who_want_to_be_alone_are_so_one_after_the_other() -> None:
    slots = Slots(3)
    at_once: list[int] = []
    inside = 0

    async def lonely() -> None:
        nonlocal inside
        await slots.take()
        try:
            async with slots.alone():
                inside += 1
                at_once.append(inside)
                await settled()
                inside -= 1
        finally:
            slots.release()

    await asyncio.wait_for(asyncio.gather(*(lonely() for _ in range(5))), 5)
    assert at_once == [1] * 5
    assert (slots.used, slots.free) == (0, 3)


async def test_who_gives_up_waiting_for_another_who_is_alone_changes_nothing() -> None:
    slots = Slots(2)
    for _ in range(2):
        await slots.take()
    leave = asyncio.Event()

    async def lonely() -> None:
        async with slots.alone():
            await leave.wait()

    first, second = (asyncio.create_task(lonely()) for _ in range(2))
    await settled()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    slots.release()
    assert slots.free == 0
    leave.set()
    await asyncio.wait_for(first, 5)
    assert (slots.used, slots.free) == (1, 1)


async def test_a_second_who_wants_to_be_alone_does_not_keep_the_first_waiting() -> None:
    slots = Slots(2)
    for _ in range(2):
        await slots.take()
    order: list[str] = []

    async def lonely(name: str) -> None:
        async with slots.alone():
            order.append(name)

    first = asyncio.create_task(lonely("first"))
    await settled()
    assert order == []
    second = asyncio.create_task(lonely("second"))
    await asyncio.wait_for(first, 5)
    slots.release()
    await asyncio.wait_for(second, 5)
    assert order == ["first", "second"]


async def test_a_place_that_was_left_is_free_before_its_task_is_settled() -> None:
    slots = Slots(1)
    await slots.take()
    place = Place(slots)
    place.leave()
    assert (slots.used, slots.free) == (0, 1)
    await asyncio.wait_for(slots.take(), 5)
    idle = asyncio.create_task(slots.idle())
    slots.release()
    await settled()
    assert not idle.done(), "what was done in the place is still being told"
    place.close()
    await asyncio.wait_for(idle, 5)
    assert (slots.used, slots.free) == (0, 1)


async def test_a_place_that_was_never_left_is_given_back_once() -> None:
    slots = Slots(2)
    await slots.take()
    Place(slots).close()
    assert (slots.used, slots.free) == (0, 2)


async def test_alone_waits_until_its_neighbours_are_settled() -> None:
    slots = Slots(2)
    await slots.take()
    neighbour = Place(slots)
    await slots.take()
    neighbour.leave()
    order: list[str] = []

    async def lonely() -> None:
        async with slots.alone():
            order.append("alone")

    running = asyncio.create_task(lonely())
    await settled()
    assert order == []
    neighbour.close()
    await asyncio.wait_for(running, 5)
    assert order == ["alone"]
