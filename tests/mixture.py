"""A load that reaches everything: fan-out, large outputs, files, retries, failures, cancels, copies and poison."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

from contracts import encoding, messages, steering, topology
from contracts.states import EXECUTION_OVER
from contracts.tiers import Tier
from infra.delivery import Delivery
from tests.factories import Client, Factory, eventually

UNFINISHED = 40
"""Executions that are not over before more are submitted."""

SOON = {"base": 0.05, "cap": 0.2}
TEMPLATES: dict[str, list[dict[str, Any]]] = {
    # Its documents are objects, its shards' results together are more than a task may hold, and it attaches a file.
    "wide": [
        {"name": "find", "parameters": {"records": "6", "size": "1500"}},
        {
            "name": "read",
            "depends_on": ["find"],
            "fan_out": {"over": ["find"], "field": "record"},
            "parameters": {"records": "3", "size": "1200"},
        },
        {
            "name": "tell",
            "depends_on": ["read"],
            "inputs": {"upstream": "read"},
            "parameters": {"file": "'what was found'"},
            "deliver": ["json", "txt"],
        },
    ],
    # Nothing but steps in a row, most of whose events take the coordinator's short way.
    "row": [{"name": "one"}, {"name": "two", "depends_on": ["one"]}, {"name": "three", "depends_on": ["two"]}],
    "again": [{"name": "work", "parameters": {"fail": "'transient'", "fail_below_attempt": "2"}, "retry": SOON}],
    "doomed": [{"name": "work", "parameters": {"fail": "'permanent'"}}],
    "slow": [{"name": "work", "stage": "slow_effect", "parameters": {"seconds": "0.25"}}],
    "endless": [{"name": "work", "stage": "slow_effect", "parameters": {"seconds": "60.0"}}],
}
ENDS = {
    "wide": {"completed"},
    "row": {"completed"},
    "again": {"completed"},
    "doomed": {"failed"},
    "slow": {"completed"},
    "endless": {"cancelled"},
}


class Load:
    """Jobs, duplicates, cancellations and poison, again and again, and an account of them."""

    def __init__(self, factory: Factory, client: Client) -> None:
        self.submitted: dict[str, str] = {}
        self.poison: set[bytes] = set()
        self._factory = factory
        self._client = client
        self._copies: asyncio.Queue[Delivery] = asyncio.Queue()
        self._cancelled: set[uuid.UUID] = set()
        self._seen = 0

    async def run(self) -> None:
        """Goes on until it is cancelled."""
        queue = topology.Queue("beside", bindings=((topology.STAGES, "#"), (topology.EVENTS, "#")))
        await self._client.connection.declare([queue])
        await self._client.connection.consume(queue.name, self._hear, prefetch=0)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat())
            while True:
                await self._poison()
                await self.cancel()
                if await self._unfinished() < UNFINISHED:
                    await self._jobs()
                await asyncio.sleep(0.5)

    def _hear(self, delivery: Delivery) -> None:
        self._seen += 1
        if self._seen % 5 == 0 and "copy" not in delivery.headers:
            self._copies.put_nowait(delivery)

    async def _repeat(self) -> None:
        """Publishes messages a second time; some tasks as if they had been handed out before, so that they run alone"""
        number = 0
        while True:
            delivery = await self._copies.get()
            number += 1
            alone = {"x-delivery-count": 2} if delivery.type == "StageTask" and number % 3 == 0 else {}
            for _ in range(2):
                await self._client.publisher.publish(
                    delivery.exchange,
                    delivery.routing_key,
                    delivery.type or "",
                    delivery.body,
                    headers={"copy": True, **alone},
                )

    async def caught_up(self) -> None:
        """Returns when all that was submitted so far is over."""
        keys = list(self.submitted)
        over = "SELECT count(*)::int AS n FROM executions WHERE submit_key = ANY ($1) AND status = ANY ($2)"

        async def ended() -> Any:
            (row,) = await self._factory.fetch(over, keys, [status.value for status in EXECUTION_OVER])
            return row["n"] == len(keys)

        await eventually(ended, f"{len(keys)} executions are over", 120.0)

    async def _unfinished(self) -> int:
        statuses = await self._factory.statuses()
        return len(self.submitted) - sum(statuses.get(status, 0) for status in EXECUTION_OVER)

    async def _jobs(self) -> None:
        jobs = [("wide", Tier.ENTERPRISE), ("wide", Tier.BASIC), ("again", Tier.PREMIUM), ("doomed", Tier.STANDARD)]
        jobs += [("slow", tier) for tier in Tier] * 2 + [("row", Tier.STANDARD), ("endless", Tier.ENTERPRISE)]
        await asyncio.gather(*(self._submit(template, tier) for template, tier in jobs))

    async def _poison(self) -> None:
        for exchange, key, name in (
            (topology.STAGES, topology.stage_queue("effect", Tier.BASIC), "StageTask"),
            (topology.EVENTS, topology.event_key(Tier.BASIC), "StageCompleted"),
        ):
            body = f"nonsense {uuid.uuid4()}".encode()
            self.poison.add(body)
            await self._client.publisher.publish(exchange, key, name, body, headers={"copy": True})

    async def _submit(self, template: str, tier: Tier) -> None:
        key = uuid.uuid4().hex
        self.submitted[key] = template
        for _ in range(2):  # the second gets the answer of the first
            await self._client.submit(template, client=tier.value, key=key)

    async def cancel(self) -> None:
        """Cancels what was accepted and would not end."""
        accepted = {answer for answer, _ in self._client.answers if isinstance(answer, messages.JobAccepted)}
        endless = {answer.execution_id for answer in accepted if answer.template == "endless"}
        for execution_id in endless - self._cancelled:
            command = steering.CancelExecution(client="enterprise", execution_id=execution_id)
            await self._client.publish(encoding.encode(command), type_name="CancelExecution")
            self._cancelled.add(execution_id)


@contextlib.asynccontextmanager
async def running(load: Load) -> AsyncIterator[None]:
    """Goes on with the load until the block ends."""
    task = asyncio.create_task(load.run())
    try:
        yield
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
