"""What the factory needs of the broker and is not there any more is declared again."""

import asyncio
import dataclasses
from collections.abc import Iterable, Sequence

from contracts import topology
from contracts.errors import FactoryError
from infra import broker, management
from infra.broker import Connection
from infra.delivery import BrokerError, NotFoundError
from infra.repairs import Kind

NAME = "coordinator, restoring"
NOTHING = "-"
"""A routing key that nothing is published with."""


class RestorationError(FactoryError):
    """Something exists on the broker in another shape than the factory needs; nobody but a person may remove it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Gone:
    """Something that was missing and is there again."""

    kind: Kind
    name: str


async def restore(amqp_url: str, admin_url: str, stages: Iterable[str]) -> list[Gone]:
    """Declares all exchanges, queues and bindings of a factory with these stages; returns what was missing.

    Messages that a missing queue held are gone with it. Missing bindings are restored always, but told only where the
    management API answers. Raises BrokerError without a broker, RestorationError for what cannot be declared.
    """
    queues = topology.queues(stages)
    gone = [Gone("exchange", name) for name in await _missing_exchanges(amqp_url)]
    async with broker.connect(amqp_url, name=NAME) as connection:
        there = await asyncio.gather(*(_exists(connection, queue.name) for queue in queues))
        missing = {queue.name for queue, exists in zip(queues, there, strict=True) if not exists}
        gone += [Gone("queue", name) for name in sorted(missing)]
        unbound = await _unbound(admin_url, amqp_url, [queue for queue in queues if queue.name not in missing])
        lost = {item.name for item in gone}
        gone += [Gone("binding", name) for name, exchange in unbound if exchange not in lost]
        try:
            await connection.declare(queues)
        except BrokerError as error:
            raise RestorationError(
                f"{error}; remove what stands in the way on the broker, and it is declared as the factory needs it"
            ) from error
    return gone


async def _exists(connection: Connection, queue: str) -> bool:
    try:
        await connection.inspect(queue)
    except NotFoundError:
        return False
    return True


async def _missing_exchanges(amqp_url: str) -> list[str]:
    """AMQP has no list of exchanges: one that nothing can be bound to is missing, and the attempt ends the channel."""
    if await _can_bind(amqp_url, topology.EXCHANGES):
        return []
    return [name for name in topology.EXCHANGES if not await _can_bind(amqp_url, [name])]


async def _can_bind(amqp_url: str, exchanges: Iterable[str]) -> bool:
    async with broker.connect(amqp_url, name=NAME) as connection:
        try:
            await connection.declare_reply_queue([(exchange, NOTHING) for exchange in exchanges])
        except BrokerError:
            return False
    return True


async def _unbound(admin_url: str, amqp_url: str, queues: Sequence[topology.Queue]) -> list[tuple[str, str]]:
    """Queues that lack a binding, with its exchange; none where the management API cannot be asked."""
    if not admin_url:
        return []
    try:
        async with management.connect(admin_url, amqp_url) as api:
            found = await api.bindings()
    except management.ManagementError:
        return []
    return [(q.name, exchange) for q in queues for exchange, key in q.bindings if (exchange, q.name, key) not in found]
