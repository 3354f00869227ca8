"""Commands about executions that run."""

from contracts import encoding, messages, topology
from contracts.tiers import Tier
from infra import broker

SECONDS = 30.0
"""How long a coordinator is waited for."""


async def cancel(url: str, command: messages.CancelExecution, tier: Tier) -> None:
    """Publishes the cancellation as the broker user of the URL; it is on its way when this returns."""
    async with broker.connect(url, name="factory cancel") as connection:
        publisher = await connection.publisher()
        await publisher.publish(
            topology.JOBS,
            topology.job_key(tier),
            type(command).__name__,
            encoding.encode(command),
            user_id=connection.user,
        )
