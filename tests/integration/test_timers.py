"""Everything that becomes due: at its time, once, and not while it is held."""

import asyncio
import datetime

import pytest

from contracts import messages
from contracts.messages import TaskKey
from infra import database, timers
from tests.factories import Factory
from tests.integration.rows import submit


async def keys(connection: database.Connection, limit: int = 100) -> list[TaskKey | None]:
    return [timer.key for timer in await timers.due(connection, limit)]


async def sooner(connection: database.Connection, seconds: float) -> None:
    """Lets everything that has a time be due so many seconds sooner."""
    statement = "UPDATE timers SET due_at = due_at - make_interval(secs => $1) WHERE due_at < 'infinity'"
    await connection.execute(statement, seconds)


async def test_delays_are_over_in_their_order(tables: Factory) -> None:
    one, two, three = (TaskKey(i, 1, "a", 0, 2) for i in await submit(tables, 3))
    async with tables.pool.acquire() as connection:
        assert await timers.seconds_to_next(connection) is None
        await timers.set_retries(connection, [(one, 30.0), (two, 10.0), (three, 90.0)])
        assert await timers.seconds_to_next(connection) == pytest.approx(10.0, abs=5)
        assert await keys(connection) == []
        await sooner(connection, 40.0)
        assert await keys(connection) == [two, one]
        assert await keys(connection, 1) == [two]


async def test_another_attempt_takes_the_place_of_the_one_before(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
    first = TaskKey(execution_id, 1, "a", 3, 2)
    second = first._replace(attempt=3)
    async with tables.pool.acquire() as connection:
        await timers.set_retries(connection, [(first, 0.0)])
        seen = await timers.due(connection, 10)
        await timers.set_retries(connection, [(second, 0.0)])
        assert await timers.done(connection, seen) == 0, "it was set again since it was read"
        assert await keys(connection) == [second]
        assert await timers.done(connection, await timers.due(connection, 10)) == 1
        assert await keys(connection) == []


async def test_what_is_held_is_not_due_until_it_is_woken(tables: Factory) -> None:
    held, other = await submit(tables, 2)
    waiting = [(TaskKey(i, 1, "a", 0, 2), 5.0) for i in (held, other)]
    open_end = (TaskKey(held, 1, "b", 0, 1), None)
    async with tables.pool.acquire() as connection:
        await timers.set_retries(connection, [*waiting, open_end])
        await timers.set_execution(connection, "deadline", held, 5.0)
        await timers.hold(connection, [held])
        await sooner(connection, 10.0)
        found = await timers.due(connection, 10)
        assert {(t.kind, t.execution_id) for t in found} == {("deadline", held), ("retry", other)}, "deadlines go on"
        await timers.wake(connection, [held])
        assert {t.key for t in await timers.due(connection, 10)} == {waiting[0][0], waiting[1][0], open_end[0], None}


async def test_of_many_only_what_ended_while_it_was_held_is_forgotten(tables: Factory) -> None:
    ended, paused = await submit(tables, 2)
    async with tables.pool.acquire() as connection:
        await timers.set_retries(connection, [(TaskKey(i, 1, "a", 0, 2), None) for i in (ended, paused)])
        await connection.execute("UPDATE executions SET status = 'cancelled' WHERE id = $1", ended)
        await timers.keep_house(connection)
        left = await connection.fetch("SELECT execution_id FROM timers")
    assert [row["execution_id"] for row in left] == [paused]


async def test_what_cannot_be_seen_to_makes_room_for_the_others(tables: Factory) -> None:
    one, two = (TaskKey(i, 1, "a", 0, 2) for i in await submit(tables, 2))
    async with tables.pool.acquire() as connection:
        await timers.set_retries(connection, [(one, -10.0), (two, -5.0)])
        await timers.postpone(connection, await timers.due(connection, 1), 60.0)
        assert await keys(connection) == [two]
        seconds = await timers.seconds_to_next(connection)
        assert seconds is not None
        assert seconds < 0
        await timers.done(connection, await timers.due(connection, 1))
        assert await timers.seconds_to_next(connection) == pytest.approx(60.0, abs=10)


async def test_a_job_with_a_delay_waits_and_its_deadline_runs(tables: Factory) -> None:
    (later,) = await submit(tables, delay=30.0, deadline=90.0)
    (plain,) = await submit(tables)
    async with tables.pool.acquire() as connection:
        found = await connection.fetch("SELECT id, status, pause_reason FROM executions")
        rows = {row["id"]: tuple(row)[1:] for row in found}
        assert rows == {later: ("paused", "delay"), plain: ("queued", None)}
        await sooner(connection, 40.0)
        assert [(t.kind, t.execution_id) for t in await timers.due(connection, 10)] == [("delay", later)]
        await sooner(connection, 60.0)
        both = await timers.due(connection, 10)
        assert [(t.kind, t.execution_id) for t in both] == [("delay", later), ("deadline", later)]


async def test_a_schedule_has_one_time(tables: Factory) -> None:
    moment = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    async with tables.pool.acquire() as connection:
        for due in (moment, moment - datetime.timedelta(days=20 * 365)):
            await timers.set_schedule(connection, "nightly", due)
        (timer,) = await timers.due(connection, 10)
        assert (timer.kind, timer.subject, timer.execution_id, timer.key) == ("schedule", "nightly", None, None)
        await timers.set_schedule(connection, "nightly", None)
        assert await timers.due(connection, 10) == []


async def test_two_who_read_the_same_timer_do_not_wait_for_each_other(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
    async with tables.pool.acquire() as one, tables.pool.acquire() as other:
        await timers.set_retries(one, [(TaskKey(execution_id, 1, "a", 0, 2), 0.0)])
        async with one.transaction():
            seen = await timers.due(one, 10)
            async with asyncio.timeout(5):
                assert await timers.due(other, 10) == seen


def test_a_delay_and_a_deadline_have_limits() -> None:
    for field in ({"delay": -1}, {"delay": 1e9}, {"deadline": 0}):
        with pytest.raises(ValueError, match=next(iter(field))):
            messages.SubmitJob(submit_key="k", client="c", template="t", **field)
