"""Work on hostile input ends a child process at worst, never the worker."""

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop

from consumers.runtime import isolation
from contracts import errors
from tests.integration import hostile

LIMITS = isolation.Limits(cpu_seconds=1, wall_seconds=20, memory_bytes=256 * 1024 * 1024, result_bytes=1024 * 1024)
FOREVER = 3600.0


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[isolation.ChildPool]:
    """A pool with a single child, so that the next request meets what the last one left behind."""
    async with isolation.ChildPool(1, limits=LIMITS) as children:
        yield children


async def test_a_function_runs_in_another_process_which_is_used_again(pool: isolation.ChildPool) -> None:
    assert await pool.run(hostile.double, 21) == 42
    first = await pool.run(hostile.process_id, 0)

    assert first == await pool.run(hostile.process_id, 0) != os.getpid()


async def test_a_processor_bomb_is_ended_and_the_pool_recovers(pool: isolation.ChildPool) -> None:
    with pytest.raises(errors.PermanentError, match=r"more than the limit of 1 s of processor time"):
        await pool.run(hostile.spin, 0)

    assert await pool.run(hostile.double, 1) == 2


async def test_processor_time_is_counted_for_each_request(pool: isolation.ChildPool) -> None:
    child = await pool.run(hostile.process_id, 0)
    for _ in range(5):
        await pool.run(hostile.work, 0.5)

    assert await pool.run(hostile.process_id, 0) == child


async def test_a_memory_bomb_is_refused_and_the_pool_recovers(pool: isolation.ChildPool) -> None:
    with pytest.raises(errors.PermanentError, match="more memory than the limit of 256 MiB"):
        await pool.run(hostile.allocate, 1024)

    assert await pool.run(hostile.allocate, 1) == 1024 * 1024


async def test_a_hang_is_ended_by_the_clock_and_the_pool_recovers(pool: isolation.ChildPool) -> None:
    with pytest.raises(errors.PermanentError, match=r"longer than the limit of 0\.5 s"):
        await pool.run(hostile.sleep, FOREVER, wall_seconds=0.5)

    assert await pool.run(hostile.double, 1) == 2


async def test_a_crash_names_its_signal_and_the_pool_recovers(pool: isolation.ChildPool) -> None:
    with pytest.raises(errors.PermanentError, match="SIGSEGV"):
        await pool.run(hostile.crash, 0)
    with pytest.raises(errors.PermanentError, match="ended with code 3"):
        await pool.run(hostile.leave, 3)

    assert await pool.run(hostile.double, 1) == 2


async def test_a_child_killed_by_someone_else_is_worth_another_attempt(pool: isolation.ChildPool) -> None:
    child = await pool.run(hostile.process_id, 0)
    work = asyncio.create_task(pool.run(hostile.sleep, FOREVER))
    await asyncio.sleep(0)  # the request is on its way once the task has run
    os.kill(child, signal.SIGKILL)

    with pytest.raises(errors.TransientError, match="killed from outside"):
        await work
    assert await pool.run(hostile.double, 1) == 2


async def test_a_child_that_died_while_idle_is_replaced(pool: isolation.ChildPool) -> None:
    child = await pool.run(hostile.process_id, 0)
    gone = os.pidfd_open(child)
    os.kill(child, signal.SIGKILL)
    await asyncio.to_thread(select.select, [gone], [], [])
    os.close(gone)

    async with asyncio.timeout(10):
        while await attempt(pool) != 2:
            pass


async def attempt(pool: isolation.ChildPool) -> int:
    """The event loop learns of a death a little later, so that one request may still meet it."""
    try:
        return await pool.run(hostile.double, 1)
    except errors.TransientError:
        return 0


async def test_a_child_that_stops_answering_is_ended(pool: isolation.ChildPool) -> None:
    with pytest.raises(errors.PermanentError, match="stopped answering"):
        await pool.run(hostile.fall_silent, 0)

    assert await pool.run(hostile.double, 1) == 2


async def test_errors_come_back_with_their_class_and_details(pool: isolation.ChildPool) -> None:
    with pytest.raises(errors.InvalidInputError, match="not this") as caught:
        await pool.run(hostile.refuse, "not this")
    assert caught.value.details == {"url": "https://news.example/"}
    with pytest.raises(errors.PermanentError, match=r"ValueError: a b \[31m") as failed:
        await pool.run(hostile.stumble, "a\nb\x1b[31m" + "x" * 5000)
    assert len(str(failed.value)) <= 2000


async def test_a_result_of_the_wrong_type_or_size_is_refused(pool: isolation.ChildPool) -> None:
    with pytest.raises(errors.PermanentError, match="the work"):
        await pool.run(hostile.lie, 0)
    with pytest.raises(errors.PermanentError, match="limit is 1,048,576"):
        await pool.run(hostile.chatter, "x" * 2_000_000)


async def test_what_the_work_prints_does_not_mix_with_its_result(pool: isolation.ChildPool) -> None:
    assert await pool.run(hostile.chatter, "quiet") == "quiet"


async def test_a_child_cannot_fill_the_disk(pool: isolation.ChildPool) -> None:
    with pytest.raises(errors.PermanentError, match="File too large"):
        await pool.run(hostile.fill_disk, 0)


async def test_cancelled_work_is_ended_at_once(pool: isolation.ChildPool) -> None:
    child = await pool.run(hostile.process_id, 0)
    work = asyncio.create_task(pool.run(hostile.sleep, FOREVER))
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    assert await pool.run(hostile.process_id, 0) != child


async def test_a_function_without_annotations_is_a_programming_error(pool: isolation.ChildPool) -> None:
    with pytest.raises(TypeError, match="annotation"):
        await pool.run(len, [1])


async def test_the_event_loop_stays_free_while_children_work() -> None:
    async with isolation.ChildPool(2, limits=LIMITS) as children, asyncio.TaskGroup() as group:
        work = [group.create_task(children.run(hostile.sleep, 0.3)) for _ in range(2)]
        turns = 0
        while not all(task.done() for task in work):
            await asyncio.sleep(0.01)
            turns += 1

    assert turns > 10


async def test_a_missing_module_is_named() -> None:
    async with isolation.ChildPool(1, preload=["no_such_module"], limits=LIMITS) as children:
        with pytest.raises(errors.TransientError, match="no_such_module"):
            await children.run(hostile.double, 1)


Surroundings = tuple[list[str], dict[str, str], int]


async def look_around() -> Surroundings:
    """What is open and known in a child, and its id, while this process has an inheritable socket."""
    with socket.socket() as secret:
        secret.bind(("127.0.0.1", 0))
        os.set_inheritable(secret.fileno(), True)
        async with isolation.ChildPool(1, limits=LIMITS) as children:
            opened = await children.run(hostile.descriptors, 0)
            return opened, await children.run(hostile.variables, 0), await children.run(hostile.process_id, 0)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_child_inherits_nothing_and_does_not_stay(
    run: Callable[[Coroutine[None, None, Surroundings]], Surroundings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FACTORY_S3_SECRET_KEY", "hush")

    opened, environment, child = run(look_around())

    assert len([name for name in opened if name.startswith(("pipe:", "socket:"))]) == 2
    assert "hush" not in str(environment)
    assert not Path(f"/proc/{child}").exists()


PARENT = """
import asyncio, sys
sys.path.insert(0, {path!r})
from consumers.runtime import isolation
from tests.integration import hostile

async def main():
    async with isolation.ChildPool(1) as pool:
        print(await pool.run(hostile.process_id, 0), flush=True)
        await pool.run(hostile.spin, 0)

asyncio.run(main())
"""


def test_a_child_dies_with_a_killed_parent() -> None:
    script = PARENT.format(path=str(Path(__file__).parents[2]))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        began = time.monotonic()
        parent.kill()
        ended, _, _ = select.select([child], [], [], 10)
        os.close(child)

    assert ended, "the child outlived its parent by ten seconds"
    assert time.monotonic() - began < 5
