"""The census tells of the factory what stands in its tables, and answers whatever the database does."""

import asyncio
import uuid
from urllib.parse import urlsplit

import pytest

from contracts.states import ExecutionStatus, StepStatus
from contracts.tiers import Tier
from infra import census, database, pauses, registries
from tests import proxy
from tests.factories import Factory
from tests.integration import money
from tests.integration.money import CENT
from tests.integration.rows import age, row, store, submit

HOUR = 3600.0


async def taken(tables: Factory) -> dict[str, dict[tuple[str, ...], float]]:
    """What a census tells, by metric and labels."""
    async with tables.pool.acquire() as connection:
        found = await census.take(connection, 200, 30.0)
    return {described.name: dict(samples) for described, samples in found.items()}


async def execute(tables: Factory, statement: str, *arguments: object) -> None:
    async with tables.pool.acquire() as connection:
        await connection.execute(statement, *arguments)


async def status(tables: Factory, execution_id: uuid.UUID, status: ExecutionStatus) -> None:
    await execute(
        tables, "UPDATE executions SET status = $2, started_at = now() WHERE id = $1", execution_id, status.value
    )


async def test_an_idle_factory_has_nothing_but_zeros(tables: Factory) -> None:
    found = await taken(tables)
    assert set(found) == {described.name for described in census.TABLE}
    assert found["factory_executions"] == {
        (state, tier.value): 0 for state in ("queued", "running", "paused") for tier in Tier
    }
    assert found["factory_repairs_total"] == {(kind,): 0 for kind in ("exchange", "queue", "binding", "task")}
    assert found["factory_slots"] == {(): 200}
    for name in ("factory_executions_stuck", "factory_outbox_messages", "factory_dead_letters_oldest_seconds"):
        assert found[name] == {(): 0}


async def test_executions_tasks_and_their_ages_are_counted(tables: Factory) -> None:
    first, second, _ = await submit(tables, 3, tier=Tier.PREMIUM)
    await submit(tables, 2, client="bee", tier=Tier.BASIC)
    await status(tables, first, ExecutionStatus.RUNNING)
    await status(tables, second, ExecutionStatus.PAUSED)
    async with tables.pool.acquire() as connection:
        await store(
            connection,
            row(first, "a", status=StepStatus.DISPATCHED),
            row(first, "b", status=StepStatus.RUNNING),
            row(second, "a", status=StepStatus.DISPATCHED),
        )
        await age(connection, 90.0)
    found = await taken(tables)
    assert found["factory_executions"]["running", "premium"] == 1
    assert found["factory_executions"]["paused", "premium"] == 1
    assert found["factory_executions"]["queued", "premium"] == 1
    assert found["factory_executions"]["queued", "basic"] == 2
    assert found["factory_tasks"] == {
        ("work", "premium", "dispatched"): 2,
        ("work", "premium", "running"): 1,
    }
    assert found["factory_tasks_oldest_seconds"]["work", "premium"] == pytest.approx(90.0, abs=10)


async def test_who_waits_for_a_slot_waits_since_it_last_began_to(tables: Factory) -> None:
    (old,) = await submit(tables, tier=Tier.PREMIUM)
    (again,) = await submit(tables, client="bee", tier=Tier.BASIC)
    await submit(tables, client="held", tier=Tier.STANDARD)
    await execute(tables, "UPDATE executions SET created_at = now() - interval '1 day'")
    await execute(tables, "UPDATE executions SET created_at = now() - interval '1 hour' WHERE id = $1", old)
    await execute(
        tables,
        "INSERT INTO timeline (execution_id, kind, at) VALUES ($1, 'resumed', now() - interval '1 minute')",
        again,
    )
    async with tables.pool.acquire() as connection:
        await pauses.add(connection, "client", "held", "operator", "")
    found = (await taken(tables))["factory_executions_queued_seconds"]
    assert found["premium",] == pytest.approx(HOUR, abs=10)
    assert found["basic",] == pytest.approx(60.0, abs=10), "it was resumed a minute ago"
    assert ("standard",) not in found, "a paused client waits for no slot"


async def test_an_execution_of_which_nothing_is_on_its_way_is_stuck(tables: Factory) -> None:
    moving, stuck = await submit(tables, 2)
    for one in (moving, stuck):
        await status(tables, one, ExecutionStatus.RUNNING)
    async with tables.pool.acquire() as connection:
        await store(
            connection,
            row(moving, "a", status=StepStatus.WAITING, wait=HOUR),
            row(stuck, "a", status=StepStatus.COMPLETED),
        )
    assert (await taken(tables))["factory_executions_stuck"] == {(): 0}
    await execute(tables, "UPDATE executions SET started_at = now() - interval '1 hour'")
    await execute(
        tables, "UPDATE step_executions SET finished_at = now() - interval '1 hour' WHERE status = 'completed'"
    )
    assert (await taken(tables))["factory_executions_stuck"] == {(): 1}


async def test_money_is_told_by_tier_and_who_is_near_his_limit(tables: Factory) -> None:
    key = await money.running(tables)
    await money.limit(tables, "acme", 100 * CENT)
    async with money.workers(tables) as pool:
        budget = money.purse(pool, key)
        async with await budget.reserve(60 * CENT, "a call") as reservation:
            reservation.begin()
            await reservation.post(50 * CENT)
        found = await taken(tables)
        assert found["factory_budget_spent_dollars"]["basic",] == 0.5
        assert found["factory_budget_clients_near_limit"]["basic",] == 0
        await budget.reserve(40 * CENT, "another")
    found = await taken(tables)
    assert found["factory_budget_reserved_dollars"]["basic",] == 0.4
    assert found["factory_budget_clients_near_limit"]["basic",] == 1


async def test_paused_stages_are_told(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        await pauses.add(connection, "stage", "effect", "operator", "")
    assert (await taken(tables))["factory_stages_paused"] == {("effect",): 1}


def up() -> float | None:
    return registries.REGISTRIES["coordinator"].get_sample_value("factory_census_up")


async def test_a_slow_database_delays_no_answer_and_one_that_is_away_is_told(tables: Factory) -> None:
    parts = urlsplit(tables.settings.database_url)
    async with proxy.to(parts.hostname or "", parts.port or 0) as network:
        login = parts.netloc.rpartition("@")[0]
        address = parts._replace(netloc=f"{login}@127.0.0.1:{network.port}").geturl()
        async with database.connect(address, application="test", size=1, by_index=True) as pool:
            told = census.Census(pool, 200, 30.0)
            assert b"factory_slots 200.0" in await told.text()
            assert up() == 1
            network.pace = proxy.Pace(delay=0.2)
            # Sooner than this it would not ask at all.
            await asyncio.sleep(census.FRESH_SECONDS)
            async with asyncio.timeout(5 * census.WAIT_SECONDS):
                assert b"factory_slots 200.0" in await told.text(), "what was told last is told once more"
            assert up() == 1
            await told.close()
            network.refuse()
            silent = census.Census(pool, 200, 30.0)
            assert await silent.text() == b""
            assert up() == 0
            await silent.close()
