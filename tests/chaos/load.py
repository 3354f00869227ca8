"""A steady stream of jobs through the producer's own way, each written down before it is submitted."""

import asyncio
import dataclasses
import json
import random
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from contracts import messages
from contracts.tiers import Tier
from producer import client

ANSWER_SECONDS = 240.0
"""A job is offered again and again until it is answered; no row keeps the factory away for so long."""

CLIENTS: Mapping[str, Tier] = {"acme": Tier.BASIC, "bravo": Tier.PREMIUM, "corto": Tier.ENTERPRISE}

PATIENT: dict[str, Any] = {"attempts": 20, "base": 0.3, "cap": 2.0, "classes": ["transient", "timeout", "input_gone"]}
"""Outlasts every fault of the object store here: a step that runs out of attempts fails, and rightly so."""

_STEPS: list[dict[str, Any]] = [
    {"name": "find", "parameters": {"records": "3", "size": "2000"}},
    {"name": "read", "depends_on": ["find"], "fan_out": {"over": ["find"], "field": "record"}},
    {"name": "join", "depends_on": ["read"], "inputs": {"upstream": "read"}},
    {"name": "think", "depends_on": ["join"]},
    {"name": "tell", "depends_on": ["think"], "deliver": ["json"]},
]
CHAIN: list[dict[str, Any]] = [{"retry": PATIENT, **step} for step in _STEPS]
"""Five steps, of which one is fanned out; the first one's document is too large to travel inline."""

TASKS = 7
"""How often a stage runs for one execution of the chain."""


@dataclasses.dataclass(frozen=True)
class Submitted:
    """A job that was submitted and the answer to it."""

    submit_key: str
    client: str
    template: str
    execution_id: UUID


class Load:
    """Submits jobs of these templates at a rate until it is told to stop, and at least ``least`` of them."""

    def __init__(
        self, url: str, ledger: Path, chance: random.Random, clients: Collection[str] = tuple(CLIENTS)
    ) -> None:
        self._url = url
        self._ledger = ledger
        self._chance = chance
        self._clients = sorted(clients)
        self._stop = asyncio.Event()
        self.begun = 0
        self.over = False
        self.answered: list[Submitted] = []

    async def run(
        self, rate: float, least: int, pick: Callable[[], str], most: int = sys.maxsize, **fields: messages.Json
    ) -> None:
        """Returns when it was stopped, enough were submitted, and all that were submitted are answered."""
        async with client.connect(self._url, name="load") as factory, asyncio.TaskGroup() as group:
            while self.begun < most and (self.begun < least or not self._stop.is_set()):
                self.begun += 1
                group.create_task(self._submit(factory, self.begun, pick(), fields))
                await asyncio.sleep(self._chance.expovariate(rate))
        self.over = True

    def stop(self) -> None:
        """Submit no more than the least number."""
        self._stop.set()

    async def _submit(
        self, factory: client.Client, number: int, template: str, fields: Mapping[str, messages.Json]
    ) -> None:
        name = self._chance.choice(self._clients)
        key = f"{number}-{client.new_key()}"
        self._note(submit_key=key, client=name, template=template)
        job = messages.SubmitJob.model_validate({"submit_key": key, "client": name, "template": template, **fields})
        accepted = await factory.submit(job, tier=CLIENTS[name], timeout=ANSWER_SECONDS)
        self.answered.append(Submitted(key, name, template, accepted.execution_id))
        self._note(submit_key=key, execution_id=str(accepted.execution_id))

    def _note(self, **said: str) -> None:
        with self._ledger.open("a") as file:
            file.write(json.dumps(said) + "\n")
