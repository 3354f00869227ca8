"""A stage for tests that makes one paid call, as a stage does that asks a language model."""

import json
import os
import pathlib
from typing import Literal

from contracts import stages
from contracts.model import Artifact, Model, Summary


class Given(Model):
    """Where the paid service is, what a call may cost at most, and what to do beside."""

    log: str = ""
    service: str
    amount: int
    repeat: int = 1


class Answered(Artifact):
    """Who did the work, and what it cost."""

    engine: Literal["paid", "local"]
    cost: int

    def summary(self) -> Summary:
        return {"engine": self.engine, "cost": self.cost}


SPEC = stages.StageSpec(name="paid_effect", input=Given, output=Answered, timeout=60, typical_seconds=0.1)


def _note(log: str, line: str) -> None:
    with pathlib.Path(log).open("a") as file:
        file.write(line)


async def run(ctx: stages.StageContext, task: Given) -> Answered:
    key = ctx.key
    if task.log:
        _note(task.log, f"{key.execution_id} {key.epoch} {key.step} {key.shard} {key.attempt} {os.getpid()}\n")
    if ctx.task.degraded:
        return Answered(engine="local", cost=0)
    cost = 0
    for number in range(task.repeat):
        cost += await _call(ctx, task, f"call {number + 1}")
    return Answered(engine="paid", cost=cost)


async def _call(ctx: stages.StageContext, task: Given, purpose: str) -> int:
    async with await ctx.budget.reserve(task.amount, purpose) as reservation:
        reservation.begin()
        page = await ctx.fetch(f"{task.service}?key={ctx.idempotency_key}")
        cost = int(json.loads(page.body)["cost"])
        await reservation.post(cost, stages.Usage("a-model", input_tokens=100, output_tokens=20))
    return cost
