"""Heartbeats of the workers: they say who lives and what each holds."""

import structlog

from consumers.coordinator import settling
from consumers.coordinator.batching import Intake
from consumers.coordinator.desk import Desk
from contracts import messages, topology
from contracts.tiers import Tier
from infra import database, failpoints, faults, leases
from infra.failpoints import Failpoint

log = structlog.get_logger()

PREFETCH = 10
"""Small, so that a frozen coordinator withholds few heartbeats from the others."""


async def consume(desk: Desk) -> Intake:
    """Starts to consume heartbeats."""
    arrived = Intake()
    await desk.incoming.consume(topology.HEARTBEATS, lambda d: arrived.add(Tier.BASIC, d), prefetch=PREFETCH)
    desk.currency.lost()
    return arrived


async def record(desk: Desk, arrived: Intake) -> None:
    """Records heartbeats for ever. One that cannot be recorded is dropped, and the record counts as broken."""
    while True:
        batch = await arrived.batch(PREFETCH)
        failpoints.reach(Failpoint.HEARTBEATS_RECEIVED)
        good, bad = settling.decoded(batch, (messages.WorkerHeartbeat,))
        for _, error in bad:
            log.warning("heartbeat_refused", reason=error.reason.value)
        for _, beat in good:
            try:
                async with desk.state.pool.acquire() as connection:
                    await leases.record(connection, beat)
            except (database.Failure, *database.UNAVAILABLE) as error:
                desk.currency.lost()
                log.warning("heartbeat_not_recorded", worker=beat.worker, error=faults.told(error))
        for delivery in batch:
            failpoints.reach(Failpoint.HEARTBEATS_ACKING)
            await delivery.ack()
        failpoints.reach(Failpoint.HEARTBEATS_ACKED)
