"""Bringing database, broker and object store to what the code needs. Doing it again changes nothing."""

import importlib
from urllib.parse import unquote, urlsplit

from contracts import registry, topology
from infra import broker, database, jobs, management, objects, revision, templates
from infra.settings import Settings


async def migrate(settings: Settings) -> list[str]:
    """Migrates the database, declares the topology, puts the policy in force; returns what was done, a line each.

    The broker user of FACTORY_AMQP_URL becomes a service user: it may publish jobs for every client.
    """
    done = [await _database(settings), await _broker(settings)]
    if settings.amqp_admin_url:
        async with management.connect(settings.amqp_admin_url, settings.amqp_url) as api:
            await api.install_policy()
        done.append(f"policy '{topology.POLICY}' is in force")
    else:
        done.append(f"policy '{topology.POLICY}' NOT installed: FACTORY_AMQP_ADMIN_URL is not set")
    async with objects.of(settings) as store:
        await store.ensure_bucket()
    done.append(f"bucket '{settings.s3_bucket}' is there")
    return done


async def _database(settings: Settings) -> str:
    async with database.connect(settings.database_url, application="factory migrate", size=1) as pool:
        before = await revision.found(pool)
    if before != revision.needed():
        # Alembic takes half a second to load, and nearly always there is nothing for it to do.
        migration = importlib.import_module("infra.migration")
        await migration.upgrade(settings.database_url)
    async with (
        database.connect(settings.database_url, application="factory migrate", size=1) as pool,
        pool.acquire() as connection,
    ):
        await templates.register(connection, registry.specs().values())
        await jobs.save_service_user(connection, unquote(urlsplit(settings.amqp_url).username or "guest"))
    after = revision.needed()
    return f"database at version {after}" + (" (unchanged)" if before == after else f", from {before or 'nothing'}")


async def _broker(settings: Settings) -> str:
    queues = topology.queues(registry.specs())
    async with broker.connect(settings.amqp_url, name="factory migrate") as connection:
        await connection.declare(queues)
    return f"{len(queues)} queues declared"
