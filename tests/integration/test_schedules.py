"""Schedules: one execution for each due time, however many coordinators look and however late they are."""

import asyncio
import dataclasses
import datetime

import pytest

from consumers.coordinator import scheduler
from contracts import templates
from contracts.tiers import OptimiseFor, Quality, Tier
from infra import cron, database, jobs, schedules, timers
from infra import templates as stored_templates
from infra.schedules import Schedule
from infra.timers import Timer
from tests.factories import Factory
from tests.integration.rows import STEPS, state

HOURLY = Schedule(
    id="hourly",
    client="acme",
    template="plain",
    template_version=None,
    parameters={"topic": "bees"},
    quality=Quality.STANDARD,
    optimise_for=OptimiseFor.BALANCE,
    urgency=7,
    budget=1_000_000,
    cron="0 * * * *",
    timezone="UTC",
)


async def prepared(connection: database.Connection, schedule: Schedule = HOURLY) -> Schedule:
    """A client, a template and a schedule."""
    await jobs.save_client(connection, "acme", "Acme", Tier.BASIC, None)
    document = {"name": "plain", "steps": STEPS, "parameters": [{"name": "topic", "type": "string", "required": True}]}
    await stored_templates.apply(connection, templates.parse(document))
    stored = await schedules.add(connection, schedule)
    assert stored is not None
    return stored


async def now_due(connection: database.Connection, hours: float = 0.0) -> Timer:
    """Lets the schedule have been due so many hours ago."""
    await connection.execute(
        "UPDATE timers SET due_at = now() - make_interval(secs => $1) WHERE kind = 'schedule'", hours * 3600
    )
    (timer,) = await timers.due(connection, 10)
    return timer


async def test_a_new_schedule_is_due_at_its_next_time(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        stored = await prepared(connection)
        assert stored.next_due is not None
        assert stored.next_due == cron.next_due("0 * * * *", "UTC", datetime.datetime.now(datetime.UTC))
        assert await schedules.add(connection, HOURLY) is None, "the id is taken"
        assert [s.parameters for s in await schedules.listing(connection)] == [{"topic": "bees"}]


async def test_many_who_see_it_due_make_one_execution(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        await prepared(connection)
        due = await now_due(connection)
    # Each loop of another coordinator has read the timer already.
    await asyncio.gather(*(scheduler.run_due(state(tables), due) for _ in range(4)))
    (made,) = await tables.fetch("SELECT * FROM executions")
    assert made["submit_key"] == f"schedule:hourly:{due.due_at.isoformat()}"
    assert (made["status"], made["client_id"], made["template"]) == ("queued", "acme", "plain")
    assert (made["parameters"], made["urgency"], made["budget"]) == ({"topic": "bees"}, 7, 1_000_000)
    async with tables.pool.acquire() as connection:
        (after,) = await schedules.listing(connection)
        assert (after.last_due, after.last_execution, after.last_problem) == (due.due_at, made["id"], "")
        assert after.next_due is not None
        assert after.next_due > datetime.datetime.now(datetime.UTC)


async def test_times_that_passed_unseen_come_once_and_late(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        await prepared(connection)
        due = await now_due(connection, hours=7.5)
        await scheduler.run_due(state(tables), due)
        assert await timers.due(connection, 10) == []
    assert len(await tables.fetch("SELECT 1 FROM executions")) == 1


async def test_a_job_that_is_rejected_is_told_and_the_next_time_comes_all_the_same(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        await prepared(connection, dataclasses.replace(HOURLY, parameters={"colour": "red"}))
        await scheduler.run_due(state(tables), await now_due(connection))
        (after,) = await schedules.listing(connection)
        assert "parameter 'colour' is not one of this template's; it has: topic" in after.last_problem
        assert after.last_execution is None
        assert after.next_due is not None
        await connection.execute("UPDATE schedules SET parameters = '{\"topic\": \"bees\"}'")
        await scheduler.run_due(state(tables), await now_due(connection))
        (after,) = await schedules.listing(connection)
        assert (after.last_problem, after.last_execution is None) == ("", False)


async def test_an_inactive_client_is_a_problem_of_its_schedule(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        await prepared(connection)
        await connection.execute("UPDATE clients SET active = false")
        await scheduler.run_due(state(tables), await now_due(connection))
        (after,) = await schedules.listing(connection)
        assert "no active client" in after.last_problem


async def test_what_the_database_does_not_take_holds_up_nothing(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        await prepared(connection)
        await connection.execute("ALTER TABLE executions ADD CONSTRAINT never CHECK (urgency <> 7)")
        await scheduler.run_due(state(tables), await now_due(connection))
        (after,) = await schedules.listing(connection)
        assert "never" in after.last_problem
        assert await timers.seconds_to_next(connection) == pytest.approx(60, abs=15)
        await connection.execute("ALTER TABLE executions DROP CONSTRAINT never")
        await scheduler.run_due(state(tables), await now_due(connection))
        assert len(await connection.fetch("SELECT 1 FROM executions")) == 1


async def test_a_paused_schedule_rests_and_makes_up_for_nothing(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        await prepared(connection)
        due = await now_due(connection)
        paused = await schedules.set_active(connection, "hourly", active=False)
        assert paused is not None
        assert (paused.active, paused.next_due) == (False, None)
        await scheduler.run_due(state(tables), due)
        resumed = await schedules.set_active(connection, "hourly", active=True)
        assert resumed is not None
        assert resumed.next_due is not None
        assert resumed.next_due > datetime.datetime.now(datetime.UTC)
        again = await schedules.set_active(connection, "hourly", active=True)
        assert again == resumed, "resuming what runs changes nothing"
        assert await connection.fetch("SELECT 1 FROM executions") == []
        assert await schedules.set_active(connection, "daily", active=True) is None


async def test_a_removed_schedule_never_comes_again(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        await prepared(connection)
        due = await now_due(connection)
        assert await schedules.remove(connection, "hourly")
        assert not await schedules.remove(connection, "hourly")
        await scheduler.run_due(state(tables), due)
        assert await timers.due(connection, 10) == []
        assert await connection.fetch("SELECT 1 FROM executions") == []
