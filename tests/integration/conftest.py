"""Fixtures of the tests that need servers, but no whole factory."""

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from infra import database, migration
from infra.settings import Settings
from tests.factories import Factory, drop_database


def renamed(url: str, name: str) -> str:
    """The address of another database on the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def migrated(stack: Settings) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to, so that tests can have copies of it."""
    name = f"m{uuid.uuid4().hex[:12]}"

    async def create() -> None:
        await execute(stack.database_url, f'CREATE DATABASE "{name}"')
        await migration.upgrade(renamed(stack.database_url, name))

    asyncio.run(create())
    yield name
    asyncio.run(execute(stack.database_url, f'DROP DATABASE "{name}"'))


@pytest_asyncio.fixture
async def tables(stack: Settings, migrated: str, tmp_path: Path) -> AsyncIterator[Factory]:
    """The database of a factory, without its broker and its store."""
    name = f"t{uuid.uuid4().hex[:12]}"
    await execute(stack.database_url, f'CREATE DATABASE "{name}" TEMPLATE "{migrated}"')
    try:
        urls = [renamed(url, name) for url in (stack.database_url, stack.worker_database_url)]
        settings = dataclasses.replace(stack, database_url=urls[0], worker_database_url=urls[1])
        async with database.connect(settings.database_url, application="test", size=4) as pool:
            yield Factory(settings, {}, tmp_path, pool)
    finally:
        await drop_database(stack.database_url, name)
