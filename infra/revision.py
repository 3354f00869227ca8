"""Which version the database has and which one this code needs, told without loading what migrates."""

import pathlib

from infra import database, statements

SQL = statements.load("revision")

_VERSIONS = pathlib.Path(__file__).parent / "migrations" / "versions"


def needed() -> str:
    """The version of the newest migration: files are named ``<version>_<what>.sql``."""
    return max(path.name.partition("_")[0] for path in _VERSIONS.glob("*.sql"))


async def found(pool: database.Pool) -> str | None:
    """The version that the database has, None if it was never migrated."""
    try:
        async with pool.acquire() as connection:
            row = await connection.fetchrow(SQL["database_version"])
    except database.UndefinedTable:
        return None
    return None if row is None else str(row["version_num"])
