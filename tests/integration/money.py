"""Money as a test wants it in the ledger, and as it is there afterwards."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from contracts import messages
from contracts.states import StepStatus
from contracts.tiers import Tier
from infra import budgets, database
from tests.factories import Factory
from tests.integration.rows import row, store, submit

CENT = 10_000

# Each finds accounts that are not what the ledger adds up to.
MONTHS = """
SELECT * FROM (SELECT client_id, month, sum(reserved) AS reserved, sum(spent) AS spent,
                      sum(spent) FILTER (WHERE kind = 'overrun') AS overrun
               FROM shared.budget_ledger GROUP BY client_id, month) AS ledger
FULL JOIN shared.budget_months AS account USING (client_id, month)
WHERE account.reserved IS NULL OR coalesce(ledger.reserved, 0) <> account.reserved
   OR coalesce(ledger.spent, 0) <> account.spent OR coalesce(ledger.overrun, 0) <> account.overrun
"""
EXECUTIONS = """
SELECT * FROM (SELECT execution_id, sum(reserved) AS reserved, sum(spent) AS spent,
                      sum(spent) FILTER (WHERE kind = 'overrun') AS overrun
               FROM shared.budget_ledger GROUP BY execution_id) AS ledger
FULL JOIN shared.budget_executions AS account USING (execution_id)
WHERE account.reserved IS NULL OR coalesce(ledger.reserved, 0) <> account.reserved
   OR coalesce(ledger.spent, 0) <> account.spent OR coalesce(ledger.overrun, 0) <> account.overrun
"""
OPEN = """
SELECT * FROM (SELECT execution_id, sum(amount) AS amount FROM shared.budget_open GROUP BY execution_id) AS still
FULL JOIN shared.budget_executions AS account USING (execution_id)
WHERE coalesce(still.amount, 0) <> coalesce(account.reserved, 0)
"""


async def running(tables: Factory, client: str = "acme", attempt: int = 1, **fields: Any) -> messages.TaskKey:
    """The key of an attempt that is under way."""
    (execution_id,) = await submit(tables, client=client, **fields)
    going = row(execution_id, status=StepStatus.RUNNING, attempt=attempt)
    async with tables.pool.acquire() as connection:
        await store(connection, going)
    return going.key


async def limit(tables: Factory, client: str, amount: int | None) -> None:
    async with tables.pool.acquire() as connection:
        assert await budgets.set_client(connection, client, amount)


@asynccontextmanager
async def workers(tables: Factory, size: int = 4) -> AsyncIterator[database.Pool]:
    """Connections as workers have them."""
    async with database.connect(tables.settings.worker_database_url, application="test worker", size=size) as pool:
        yield pool


def purse(
    pool: database.Pool, key: messages.TaskKey, client: str = "acme", seconds: float = 60.0, degraded: bool = False
) -> budgets.Budget:
    context = messages.TaskContext(
        client=client, tier=Tier.BASIC, template="plain", template_version=1, degraded=degraded
    )
    task = messages.StageTask(**key._asdict(), stage="effect", timeout=60, context=context)
    return budgets.Budget(pool, task, lambda: seconds)


async def account(tables: Factory, execution_id: uuid.UUID) -> tuple[int, int, int]:
    """Reserved, spent, overrun of an execution."""
    async with tables.pool.acquire() as connection:
        found = await budgets.of_execution(connection, execution_id)
    assert found is not None
    return found.reserved, found.spent, found.overrun


async def kinds(tables: Factory, execution_id: uuid.UUID) -> list[tuple[str, int, bool]]:
    async with tables.pool.acquire() as connection:
        return [(e.kind, e.amount, e.expired) for e in await budgets.entries(connection, execution_id, 100)]


async def expire(tables: Factory) -> list[budgets.Expired]:
    async with tables.pool.acquire() as connection:
        return await budgets.expire(connection, 100)


async def sums_hold(tables: Factory) -> None:
    """The accounts are what the ledger adds up to, and what is reserved is what is open."""
    for query in (MONTHS, EXECUTIONS, OPEN):
        assert await tables.fetch(query) == []
