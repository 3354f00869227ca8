"""What a factory needs before its processes start, and what a newcomer needs before the first job."""

from contracts.tiers import Tier
from infra import database, jobs, objects
from infra import templates as stored_templates
from infra.settings import Settings
from producer import definitions, installation, provision


async def prepare(configured: Settings) -> list[str]:
    """Migrates everything, applies the packaged templates that are absent and makes the client 'demo'."""
    done = await provision.migrate(configured)
    async with (
        database.connect(configured.database_url, application="factory prepare", size=1) as pool,
        pool.acquire() as connection,
        objects.of(configured) as store,
    ):
        there = {row["name"] for row in await stored_templates.listing(connection)}
        absent = [path for path in definitions.packaged() if path.stem not in there]
        if absent:
            loaded = [definitions.load(path) for path in absent]
            for template, _ in await definitions.apply(configured, connection, store, loaded):
                done.append(f"template '{template.name}' applied")
        if not await jobs.clients(connection, [installation.CLIENT]):
            await jobs.save_client(connection, installation.CLIENT, "Demonstration", Tier.ENTERPRISE, None)
            done.append(f"client '{installation.CLIENT}' added")
    return done
