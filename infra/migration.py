"""Bringing the database to the version that this code needs."""

import pathlib

import sqlalchemy.engine
import sqlalchemy.ext.asyncio
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from infra.database import DatabaseError

_FOLDER = pathlib.Path(__file__).parent / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.set_main_option("path_separator", "os")
    return config


def _engine(url: str) -> sqlalchemy.ext.asyncio.AsyncEngine:
    target = sqlalchemy.engine.make_url(url).set(drivername="postgresql+asyncpg")
    return sqlalchemy.ext.asyncio.create_async_engine(target, poolclass=sqlalchemy.pool.NullPool)


def _upgrade(connection: sqlalchemy.engine.Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _current(connection: sqlalchemy.engine.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def head() -> str | None:
    """The newest version that this code knows."""
    return ScriptDirectory.from_config(_config()).get_current_head()


async def upgrade(url: str) -> tuple[str | None, str | None]:
    """Applies what is missing, each migration in its own transaction; returns the versions before and after."""
    engine = _engine(url)
    try:
        async with engine.connect() as connection:
            before = await connection.run_sync(_current)
            await connection.rollback()
            await connection.run_sync(_upgrade)
            await connection.commit()
            return before, await connection.run_sync(_current)
    except OSError as error:
        raise DatabaseError(f"cannot connect to the database of FACTORY_DATABASE_URL: {error}") from error
    finally:
        await engine.dispose()


async def current(url: str) -> str | None:
    """The version that the database has, None if it has none."""
    engine = _engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_current)
    except OSError as error:
        raise DatabaseError(f"cannot connect to the database of FACTORY_DATABASE_URL: {error}") from error
    finally:
        await engine.dispose()
