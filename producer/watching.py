"""Following an execution from outside: its state whenever something happened to it, until it is over."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from uuid import UUID

from contracts import topology
from contracts.errors import FactoryError
from contracts.states import EXECUTION_OVER
from infra import database, views
from infra.delivery import Delivery
from infra.settings import Settings
from producer import listening

LONGEST_WAIT = 0.5
"""Seconds between two looks when nothing is told; notifications come about once a second and are owed to nobody."""


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """An execution and its steps at one moment, with what it has delivered."""

    execution: views.Execution
    steps: list[views.Step]
    deliverables: list[views.Deliverable]

    @property
    def over(self) -> bool:
        """Whether nothing more will change."""
        return self.execution.status in EXECUTION_OVER


async def look(connection: database.Connection, execution_id: UUID) -> Progress:
    """The state of an execution now; raises FactoryError if there is none of this id."""
    execution = await views.execution(connection, execution_id)
    if execution is None:
        raise FactoryError(f"there is no execution {execution_id}; see 'factory executions list'")
    over = execution.status in EXECUTION_OVER
    return Progress(
        execution,
        await views.steps(connection, execution_id),
        await views.deliverables(connection, execution_id) if over else [],
    )


async def follow(configured: Settings, connection: database.Connection, execution_id: UUID) -> AsyncIterator[Progress]:
    """The state of an execution now and at least twice a second; the last one is that of its end."""
    told = asyncio.Event()

    def hear(_: Delivery) -> None:
        told.set()

    about = [(topology.NOTIFICATIONS, f"execution.*.{execution_id}")]
    async with listening.listen(configured.amqp_url, name="factory watch", bindings=about, hear=hear):
        while True:
            told.clear()
            progress = await look(connection, execution_id)
            yield progress
            if progress.over:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_WAIT):
                    await told.wait()
