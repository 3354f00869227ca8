"""Money that runs left reserved when they died: nobody will say what became of their calls, so it counts as spent."""

import structlog

from consumers.coordinator.desk import Desk
from infra import budgets

log = structlog.get_logger()

LIMIT = 500


async def expire(desk: Desk) -> None:
    """Closes the reservations of attempts that are over, and those whose time is up."""
    async with desk.state.pool.acquire() as connection:
        for closed in await budgets.expire(connection, LIMIT):
            log.warning(
                "budget_expired",
                execution=str(closed.execution_id),
                step=closed.step,
                amount=budgets.dollars(closed.amount),
            )
