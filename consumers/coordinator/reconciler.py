"""What Postgres says against what the broker holds: whatever was deleted, unbound or purged there is put right."""

import asyncio
import datetime
import functools
from collections.abc import Iterable
from contextlib import suppress

import structlog

from consumers.coordinator import proof, sweeper
from consumers.coordinator.desk import Desk
from consumers.coordinator.engine import facts
from contracts import registry, topology
from contracts.errors import FactoryError
from contracts.messages import TaskKey
from contracts.tiers import Tier
from infra import dead_letters, leases, repairs, restoration, templates
from infra.repairs import Kind
from infra.restoration import Gone

log = structlog.get_logger()

LIMIT = 500
VERSIONS = "versions"


async def run(desk: Desk) -> None:
    """Compares each minute, and at once when a publish has found no queue."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(desk.patience.compare):
                await desk.doubt.wait()
        doubted = desk.doubt.is_set()
        desk.doubt.clear()
        await sweeper.attempt(desk, "topology", functools.partial(restore, doubted=doubted))
        await sweeper.attempt(desk, "policies", _policies)
        await sweeper.attempt(desk, VERSIONS, newer_versions)


async def restore(desk: Desk, *, doubted: bool = False) -> None:
    """Declares what is missing on the broker again, and counts it.

    With ``doubted`` a publish came back: if nothing seems to be missing, it was a binding, of which AMQP has no list.
    """
    async with desk.state.pool.acquire() as connection:
        stages = {*registry.specs(), *await templates.registered(connection)}
    gone = await restoration.restore(desk.settings.amqp_url, desk.settings.amqp_admin_url, sorted(stages))
    if doubted and not gone and not desk.settings.amqp_admin_url:
        gone = [Gone("binding", topology.STAGES)]
    kinds: tuple[Kind, ...] = ("exchange", "queue", "binding")
    for kind in kinds:
        await _count(desk, kind, [item.name for item in gone if item.kind == kind])


async def _count(desk: Desk, kind: Kind, names: Iterable[str]) -> None:
    if found := sorted(set(names)):
        log.warning("repaired", kind=kind, number=len(found), names=found[:10])
        async with desk.state.pool.acquire() as connection:
            await repairs.count(connection, kind, len(found), ", ".join(found))


async def _policies(desk: Desk) -> None:
    await proof.policies_are_in_force(desk.settings.amqp_admin_url, desk.settings.amqp_url)


async def newer_versions(desk: Desk) -> None:
    """Raises FactoryError while messages of a version that this code does not know are set aside."""
    async with desk.state.pool.acquire() as connection:
        waiting = await dead_letters.count_newer(connection)
    if waiting:
        raise FactoryError(
            f"{waiting} messages of a version that this coordinator does not know are set aside; upgrade it, and it "
            "takes them up again; 'factory dead list --reason unknown_version' shows them"
        )


class LostTasks:
    """Finds tasks that were published, that no worker holds, and that their queue does not have any more."""

    def __init__(self) -> None:
        self._empty_since: dict[str, datetime.datetime] = {}

    async def sweep(self, desk: Desk) -> None:
        """Reissues lost tasks. Nothing is done until heartbeats have been read without a gap for a lease period."""
        if desk.currency.seconds() < desk.settings.lease_seconds:
            return
        async with desk.state.pool.acquire() as connection:
            now = await leases.now(connection)
            unheld = await leases.unheld(connection, desk.patience.unheld, LIMIT)
        queues = {(item.stage, item.tier) for item in unheld}
        emptied = {queue: await self._empty(desk, *queue, now) for queue in sorted(queues)}
        lost: list[TaskKey] = []
        for item in unheld:
            overtaken = desk.evidence.until(item.stage, item.tier)
            empty = emptied[item.stage, item.tier]
            if any(moment is not None and item.published_at < moment for moment in (overtaken, empty)):
                lost.append(item.key)
        if lost:
            log.warning("tasks_lost", tasks=len(lost), first=lost[0])
            if applied := await sweeper.advance(desk, [facts.TaskLost(key) for key in lost]):
                async with desk.state.pool.acquire() as connection:
                    await repairs.count(connection, "task", applied, f"{lost[0].step} of {lost[0].execution_id}")

    async def _empty(self, desk: Desk, stage: str, tier: Tier, now: datetime.datetime) -> datetime.datetime | None:
        """Since when the queue has been seen empty, if it was seen so twice, long enough apart."""
        queue = topology.stage_queue(stage, tier)
        waiting, _ = await desk.incoming.inspect(queue)
        if waiting:
            self._empty_since.pop(queue, None)
            return None
        since = self._empty_since.setdefault(queue, now)
        return since if now - since >= datetime.timedelta(seconds=desk.patience.empty) else None
