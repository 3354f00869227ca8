"""The timeline's partitions are made again when they are missing, whatever was written meanwhile."""

import asyncio
import uuid

from infra import database, leases
from tests.factories import Factory


async def names(connection: database.Connection) -> list[str]:
    query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'timeline'::regclass"
    rows = await connection.fetch(query)
    return sorted(row[0] for row in rows)


async def note(connection: database.Connection) -> uuid.UUID:
    execution_id = uuid.uuid4()
    await connection.execute("INSERT INTO timeline (execution_id, kind) VALUES ($1, 'retried')", execution_id)
    return execution_id


async def test_a_lost_month_is_made_again_with_what_was_written_meanwhile(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        whole = await names(connection)
        assert len(whole) == 5
        month = whole[0]
        await connection.execute(f"DROP TABLE {month}")
        meanwhile = await note(connection)
        await leases.keep_house(connection)
        assert await names(connection) == whole
        (row,) = await connection.fetch("SELECT tableoid::regclass::text, execution_id FROM timeline")
        assert tuple(row) == (month, meanwhile)
        index = await connection.fetch("SELECT 1 FROM pg_indexes WHERE tablename = $1", month)
        assert len(index) == 2, "it is found as quickly as before"


async def test_all_partitions_are_made_again_by_several_at_once(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        whole = await names(connection)
        for name in whole:
            await connection.execute(f"DROP TABLE {name}")

    async def keep_house() -> None:
        async with tables.pool.acquire() as connection:
            await leases.keep_house(connection)

    await asyncio.gather(*(keep_house() for _ in range(4)))
    async with tables.pool.acquire() as connection:
        assert await names(connection) == whole
        await note(connection)
