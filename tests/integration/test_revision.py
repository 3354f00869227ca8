"""The database tells which version it has."""

from infra import database, migration, revision
from infra.settings import Settings
from tests.factories import Factory


async def test_a_migrated_database_has_the_version_that_the_code_needs(factory: Factory) -> None:
    assert await revision.found(factory.pool) == revision.needed() == migration.head()


async def test_a_database_that_was_never_migrated_has_none(stack: Settings) -> None:
    async with database.connect(stack.database_url, application="test", size=1) as pool:
        assert await revision.found(pool) is None
