"""Proof, before any work is taken, that the database and the broker are what the coordinator relies on."""

import asyncio

from consumers.coordinator.desk import Desk
from contracts import encoding, messages, registry, topology
from contracts.errors import FactoryError
from contracts.tiers import Tier
from infra import broker, database, failpoints, identifiers, management, revision
from infra.delivery import Delivery
from infra.failpoints import Failpoint

PROBE_SECONDS = 10.0


class ProofError(FactoryError):
    """Something that the factory's guarantees rest on is missing."""


async def database_is_current(pool: database.Pool) -> None:
    """Raises ProofError unless the database has exactly the version that this code needs."""
    found, needed = await revision.found(pool), revision.needed()
    if found != needed:
        raise ProofError(
            f"the database has version {found or 'none'} and this code needs {needed}; run 'factory migrate'"
        )


async def policies_are_in_force(admin_url: str, amqp_url: str) -> None:
    """Raises ProofError if the management API answers and names a queue that the policy does not govern."""
    if not admin_url:
        return
    names = [queue.name for queue in topology.queues(registry.specs()) if governed(queue)]
    try:
        async with management.connect(admin_url, amqp_url) as api:
            problems = await api.policy_problems(names)
    except management.ManagementError:
        return  # the probe proves it without the API
    if problems:
        more = f" (and {len(problems) - 1} more like it)" if len(problems) > 1 else ""
        raise ProofError(problems[0] + more)


def governed(queue: topology.Queue) -> bool:
    """Whether the policy is meant for this queue: work is lost where it is not in force."""
    return queue.name == topology.PROBE or queue.name.startswith(("jobs.", "events.", "stage."))


async def dead_letters_arrive(desk: Desk) -> None:
    """Raises ProofError unless a rejected probe arrives in ``dead-letters``, whichever coordinator takes it there."""
    nonce = str(identifiers.new())
    returned = asyncio.Event()

    def receive(delivery: Delivery) -> None:
        if nonce.encode() in delivery.body:
            returned.set()

    reply_queue = await desk.incoming.declare_reply_queue()
    consumer = await desk.incoming.consume(reply_queue, receive, prefetch=10)
    puller = await desk.incoming.puller()
    probe = encoding.encode(messages.Probe(nonce=nonce))
    failpoints.reach(Failpoint.PROBE_PUBLISHING)
    await desk.publisher.publish("", topology.PROBE, messages.Probe.__name__, probe, reply_to=reply_queue)
    failpoints.reach(Failpoint.PROBE_PUBLISHED)
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await _reject_probes(puller, returned)
    except TimeoutError:
        raise ProofError(
            f"a rejected message does not arrive in '{topology.DEAD_LETTERS}' within {PROBE_SECONDS:g} s: the policy "
            f"'{topology.POLICY}' is not in force; run 'factory migrate'"
        ) from None
    finally:
        await consumer.stop()


async def _reject_probes(puller: broker.Puller, returned: asyncio.Event) -> None:
    while not returned.is_set():
        delivery = await puller.get(topology.PROBE)
        if delivery is not None:
            failpoints.reach(Failpoint.PROBE_REJECTING)
            await delivery.reject()
            failpoints.reach(Failpoint.PROBE_REJECTED)
            continue
        try:
            async with asyncio.timeout(0.1):
                await returned.wait()
        except TimeoutError:
            continue  # another coordinator may hold the probe; look again


def consumed_queues() -> list[str]:
    """The queues that a coordinator consumes."""
    queues = [topology.HEARTBEATS, topology.DEAD_LETTERS]
    for tier in Tier:
        queues += [topology.jobs_queue(tier), topology.events_queue(tier)]
    return queues
