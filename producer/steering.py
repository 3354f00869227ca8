"""Commands about what runs: published as the broker user of the URL, and answered by the coordinator."""

import asyncio
from uuid import UUID

from contracts import encoding, messages, topology
from contracts.errors import FactoryError
from contracts.steering import Action, CancelExecution, ExecutionSteered, Pausable, PauseSet, SetPause, SteerExecution
from contracts.tiers import Tier
from infra import broker
from infra.delivery import Delivery

SECONDS = 30.0
"""How long a coordinator is waited for."""


async def cancel(url: str, command: CancelExecution, tier: Tier) -> None:
    """Publishes the cancellation; it is on its way when this returns."""
    async with broker.connect(url, name="factory cancel") as connection:
        await _publish(connection, command, tier)


async def steer(
    url: str, tier: Tier, client: str, execution_id: UUID, action: Action, step: str | None, note: str
) -> ExecutionSteered:
    """How the execution stands once the coordinator has done it; raises FactoryError with the reason if it has not."""
    command = SteerExecution(client=client, execution_id=execution_id, action=action, step=step, note=note)
    answer = await _ask(url, command, tier)
    if not isinstance(answer, ExecutionSteered):
        raise FactoryError(f"the command was answered with {type(answer).__name__}; are client and factory alike?")
    return answer


async def set_pause(url: str, kind: Pausable, name: str, paused: bool, note: str) -> PauseSet:
    """Pauses a stage or a client, or lets it go on; raises FactoryError with the reason if that was not done."""
    answer = await _ask(url, SetPause(kind=kind, name=name, paused=paused, note=note), Tier.ENTERPRISE)
    if not isinstance(answer, PauseSet):
        raise FactoryError(f"the command was answered with {type(answer).__name__}; are client and factory alike?")
    return answer


async def _ask(url: str, command: SteerExecution | SetPause, tier: Tier) -> messages.Message:
    answered: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()

    def receive(delivery: Delivery) -> None:
        if not answered.done():
            answered.set_result(delivery)

    async with broker.connect(url, name="factory command") as connection:
        reply_to = await connection.declare_reply_queue()
        await connection.consume(reply_to, receive, prefetch=10)
        await _publish(connection, command, tier, reply_to)
        try:
            async with asyncio.timeout(SECONDS):
                delivery = await answered
        except TimeoutError as error:
            raise FactoryError(
                f"no coordinator answered within {SECONDS:g} s; the command waits for one and is done then, "
                "so see 'factory status' before it is given again"
            ) from error
    answer = encoding.decode(delivery.type, delivery.body)
    if isinstance(answer, messages.JobRejected):
        raise FactoryError(answer.explanation)
    return answer


async def _publish(
    connection: broker.Connection, command: messages.Message, tier: Tier, reply_to: str | None = None
) -> None:
    publisher = await connection.publisher()
    await publisher.publish(
        topology.JOBS,
        topology.job_key(tier),
        type(command).__name__,
        encoding.encode(command),
        reply_to=reply_to,
        user_id=connection.user,
    )
