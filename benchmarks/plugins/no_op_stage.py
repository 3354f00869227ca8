"""A stage that does nothing, so that a benchmark shows what everything around a stage costs."""

import asyncio

from benchmarks import drive
from contracts import stages
from contracts.model import Artifact, Model


class Done(Artifact):
    """When the step was done, by the machine's monotonic clock."""

    at: float


class Given(Model):
    """What the step before made, and how long to take."""

    previous: Done | None = None
    seconds: float = 0.0


SPEC = stages.StageSpec(name="no_op", input=Given, output=Done, timeout=30, typical_seconds=0.002)


async def run(ctx: stages.StageContext, task: Given) -> Done:
    """Notes how long the hop took."""
    at = drive.hop(task.previous.at if task.previous else None)
    if task.seconds:
        await asyncio.sleep(task.seconds)
        at += task.seconds
    return Done(at=at)
