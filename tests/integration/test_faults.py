"""A fault of the system is told from one of the data, whatever else of a batch could be written."""

import dataclasses
import uuid
from collections.abc import Sequence

import asyncpg
import pytest

from consumers.coordinator import batching
from infra import canary, database
from tests.factories import Factory
from tests.integration.rows import state


async def write(pool: database.Pool, items: Sequence[str]) -> int:
    """Items beginning with "share" go to one table, the others to the timeline."""
    async with pool.acquire() as connection, connection.transaction():
        for item in items:
            if item.startswith("share"):
                await connection.execute("INSERT INTO shares (flow) VALUES ($1)", item)
            else:
                statement = "INSERT INTO timeline (execution_id, kind) VALUES ($1, $2)"
                await connection.execute(statement, uuid.uuid4(), item)
    return len(items)


async def settle(tables: Factory, *items: str) -> tuple[int, list[str]]:
    async def work(some: Sequence[str]) -> int:
        return await write(tables.pool, some)

    results, suspects = await batching.settle(tables.pool, items, work)
    return sum(results), [item for item, _ in suspects]


async def test_one_bad_value_is_found_among_many(tables: Factory) -> None:
    assert await settle(tables, "share 1", "retried", "bad \0", "share 2", "paused") == (4, ["bad \0"])
    assert await settle(tables, "share \0") == (0, ["share \0"]), "alone as well"


async def test_what_some_of_a_batch_meet_in_their_table_is_nobodys_fault(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        rows = await connection.fetch("SELECT inhrelid::regclass::text FROM pg_inherits")
        for row in [row[0] for row in rows if row[0].startswith("timeline")]:
            await connection.execute(f"DROP TABLE IF EXISTS {row} CASCADE")
    for items in (["share 1", "retried", "share 2"], ["retried"]):
        with pytest.raises(batching.SystemFaultError, match="no partition of relation"):
            await settle(tables, *items)
    assert await settle(tables, "share 3") == (1, []), "what needs nothing of it goes on"


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE executions ADD COLUMN owner text CHECK (owner IS NOT NULL)",
        "ALTER TABLE step_executions ADD CHECK (stage <> 'canary')",
        "ALTER TABLE timers ADD CHECK (kind = 'retry')",
        "ALTER TABLE deliverables DROP COLUMN ref",
        "DROP TABLE outbox",
        "DROP VIEW reporting.dead_letters; ALTER TABLE dead_letters ALTER COLUMN reason TYPE varchar(3)",
    ],
)
async def test_the_canary_meets_every_damage_and_leaves_nothing(tables: Factory, damage: str) -> None:
    async with tables.pool.acquire() as connection:
        await canary.write(connection)
        for table in ("clients", "executions", "step_executions", "timeline", "dead_letters", "outbox", "timers"):
            assert await connection.fetch(f"TABLE {table}") == []
        await connection.execute(damage)
        with pytest.raises(asyncpg.PostgresError):
            await canary.write(connection)


async def test_connections_that_may_only_read_are_given_up_once_the_database_takes_writes(tables: Factory) -> None:
    name = tables.settings.database_url.rpartition("/")[2].partition("?")[0]
    async with tables.pool.acquire() as owner:
        await owner.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        async with database.connect(tables.settings.database_url, application="test", size=1) as pool:
            for _ in range(2):
                with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                    await write(pool, ["share 1"])
                await owner.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
                await owner.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
            await dataclasses.replace(state(tables), pool=pool).renew()
            assert await write(pool, ["share 1"]) == 1
