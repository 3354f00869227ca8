"""How long tasks have waited for a worker, by what Postgres knows of them."""

from contracts.tiers import Tier
from infra import database, statements

SQL = statements.load("waits")


async def oldest_offers(connection: database.Connection) -> dict[tuple[str, Tier], float]:
    """For each stage and tier with published tasks that nobody has begun, the age of the oldest in seconds."""
    rows = await connection.fetch(SQL["oldest_offers"])
    return {(row["stage"], Tier(row["tier"])): row["seconds"] for row in rows}
