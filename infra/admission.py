"""What admission counts and remembers in Postgres."""

from collections.abc import Iterable, Mapping

from contracts.admission import Head, Share
from contracts.tiers import Tier
from infra import database, statements

SQL = statements.load("admission")

LOCK = 7_266_100_002
"""Key of the advisory lock that admission holds."""


async def lock(connection: database.Connection) -> None:
    """Waits until no other admission runs, and keeps others out until the transaction ends."""
    await connection.execute(SQL["lock_admission"], LOCK)


async def running(connection: database.Connection) -> dict[str, int]:
    """Slots in use by client."""
    return {row["client_id"]: row["running"] for row in await connection.fetch(SQL["running"])}


async def heads(connection: database.Connection, depth: int) -> list[Head]:
    """The first ``depth`` queued executions of each client, in the order in which the client wants them."""
    rows = await connection.fetch(SQL["heads"], depth)
    return [
        Head(row["id"], row["client_id"], Tier(row["tier"]), row["estimate"], row["template"], row["template_version"])
        for row in rows
    ]


async def shares(connection: database.Connection, flows: Iterable[str]) -> dict[str, Share]:
    """The virtual times of these flows; one that was never served is not among them."""
    rows = await connection.fetch(SQL["load_shares"], sorted(set(flows)))
    return {row["flow"]: Share(row["finish"], row["virtual_time"]) for row in rows}


async def save_shares(connection: database.Connection, changed: Mapping[str, Share]) -> None:
    """Stores the virtual times of these flows."""
    flows = sorted(changed)
    await connection.execute(
        SQL["save_shares"], flows, [changed[f].finish for f in flows], [changed[f].virtual_time for f in flows]
    )
