"""Clients and their submitted jobs in Postgres."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from contracts.messages import Json, SubmitJob
from contracts.tiers import Tier
from infra import database, statements, timers

SQL = statements.load("jobs")


@dataclasses.dataclass(frozen=True, slots=True)
class Client:
    """Who may submit: ``amqp_user`` is the broker user whose jobs count as this client's.

    ``spent`` is what paid calls cost in ``month`` (UTC, the present one), in millionths of a US dollar as the budget.
    """

    id: str
    tier: Tier
    amqp_user: str | None
    active: bool
    monthly_budget: int | None = None
    month: str = ""
    spent: int = 0

    @property
    def used_up(self) -> bool:
        """Whether the month's money is spent. A client without any may still have work done that costs nothing."""
        return bool(self.monthly_budget) and self.spent >= (self.monthly_budget or 0)


@dataclasses.dataclass(frozen=True, slots=True)
class NewExecution:
    """A valid job, about to be stored. ``estimate`` is its cost in fair admission."""

    id: UUID
    job: SubmitJob
    submit_hash: str
    template_version: int
    parameters: Mapping[str, Json]
    tier: Tier
    position: int
    estimate: float
    reply_to: str | None
    correlation_id: str | None
    traceparent: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Submitted:
    """What a submit key of a client stands for."""

    execution_id: UUID
    submit_hash: str
    template: str
    template_version: int
    tier: Tier
    position: int


async def clients(connection: database.Connection, ids: Iterable[str]) -> dict[str, Client]:
    """The clients of these ids that exist."""
    rows = await connection.fetch(SQL["load_clients"], sorted(set(ids)))
    return {row["id"]: _client(row) for row in rows}


def _client(row: database.Row) -> Client:
    return Client(
        id=row["id"],
        tier=Tier(row["tier"]),
        amqp_user=row["amqp_user"],
        active=row["active"],
        monthly_budget=row["monthly_budget"],
        month=row["month"],
        spent=row["spent"],
    )


async def service_users(connection: database.Connection, names: Iterable[str]) -> frozenset[str]:
    """Which of these broker users may act for every client."""
    rows = await connection.fetch(SQL["service_users"], sorted(set(names)))
    return frozenset(row["amqp_user"] for row in rows)


async def queued(connection: database.Connection, client_ids: Iterable[str]) -> dict[str, int]:
    """How many jobs of each client are queued, counted up to a thousand."""
    rows = await connection.fetch(SQL["queued_ahead"], sorted(set(client_ids)))
    return {row["client_id"]: row["ahead"] for row in rows}


async def insert(connection: database.Connection, new: Sequence[NewExecution]) -> None:
    """Stores jobs as queued executions, or as paused ones where they have a delay, with their timers.

    One whose submit key its client has used already is left out.
    """
    rows = await connection.fetch(
        SQL["insert_executions"],
        [n.id for n in new],
        [n.job.client for n in new],
        [n.job.submit_key for n in new],
        [n.submit_hash for n in new],
        [n.job.template for n in new],
        [n.template_version for n in new],
        [dict(n.parameters) for n in new],
        [n.tier.value for n in new],
        [n.job.quality.value for n in new],
        [n.job.optimise_for.value for n in new],
        [n.job.urgency for n in new],
        [n.position for n in new],
        [n.estimate for n in new],
        [n.job.budget for n in new],
        [n.reply_to for n in new],
        [n.correlation_id for n in new],
        [n.traceparent for n in new],
        [n.job.delay for n in new],
    )
    stored = {row["id"] for row in rows}
    delays = {n.id: n.job.delay for n in new if n.id in stored and n.job.delay}
    await timers.set_executions(connection, "delay", delays)
    deadlines = {n.id: n.job.deadline for n in new if n.id in stored and n.job.deadline is not None}
    await timers.set_executions(connection, "deadline", deadlines)


async def submitted(
    connection: database.Connection, keys: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Submitted]:
    """What pairs of client and submit key stand for, those that were submitted."""
    pairs = sorted(set(keys))
    rows = await connection.fetch(SQL["find_submitted"], [p[0] for p in pairs], [p[1] for p in pairs])
    return {
        (row["client_id"], row["submit_key"]): Submitted(
            execution_id=row["id"],
            submit_hash=row["submit_hash"],
            template=row["template"],
            template_version=row["template_version"],
            tier=Tier(row["tier"]),
            position=row["position"],
        )
        for row in rows
    }


async def owner(connection: database.Connection, execution_id: UUID) -> str | None:
    """The client of an execution, None if there is no such execution."""
    row = await connection.fetchrow(SQL["owner_of"], execution_id)
    return None if row is None else str(row["client_id"])


async def save_client(
    connection: database.Connection,
    client_id: str,
    name: str | None,
    tier: Tier,
    amqp_user: str | None,
    monthly_budget: int | None = None,
) -> None:
    """Adds a client, or changes what is given and leaves the rest; the budget is in millionths of a US dollar."""
    await connection.execute(SQL["upsert_client"], client_id, name, tier.value, amqp_user, monthly_budget)


async def save_service_user(connection: database.Connection, amqp_user: str) -> None:
    """Lets a broker user act for every client."""
    await connection.execute(SQL["upsert_service_user"], amqp_user)
