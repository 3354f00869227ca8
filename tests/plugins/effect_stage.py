"""A stage for tests: it leaves a line in a side-effect log for every run, and does what its parameters say."""

import asyncio
import os
import pathlib
from typing import Any, cast

from contracts import stages
from contracts.errors import ErrorClass, PermanentError, TransientError
from contracts.model import Artifact, Model, Summary


class Given(Model):
    """What to do: how long to take, how many records to give, and whether to fail."""

    log: str = ""
    seconds: float = 0.0
    records: int = 0
    size: int = 0
    fewer: int = 0
    slow_below_attempt: int = 0
    fail: ErrorClass | None = None
    fail_below_attempt: int = 0
    why: str = ""
    surprise: bool = False
    fail_shards: tuple[int, ...] = ()
    die: bool = False
    file: str = ""
    junk: bool = False
    upstream: Any = None
    record: Any = None
    note: str = ""


class Made(Artifact):
    """What was done, with as many records as were asked for."""

    records: tuple[dict[str, int | str], ...]
    seen: int
    attempt: int

    def summary(self) -> Summary:
        return {"made": len(self.records), "seen": self.seen, "attempt": self.attempt}


SPEC = stages.StageSpec(name="effect", input=Given, output=Made, timeout=30, typical_seconds=0.01)


def _note(log: str, line: str) -> None:
    with pathlib.Path(log).open("a") as file:
        file.write(line)


async def run(ctx: stages.StageContext, task: Given) -> Made:
    key = ctx.key
    if task.log:
        _note(task.log, f"{key.execution_id} {key.epoch} {key.step} {key.shard} {key.attempt} {os.getpid()}\n")
    if task.die:
        os._exit(9)
    if task.seconds and (key.attempt < task.slow_below_attempt or not task.slow_below_attempt):
        await ctx.progress(0.5, "half")
        await asyncio.sleep(task.seconds)
    early = key.attempt < task.fail_below_attempt or not task.fail_below_attempt
    chosen = not task.fail_shards or key.shard in task.fail_shards
    if task.fail is not None and early and chosen:
        kind = TransientError if task.fail is ErrorClass.TRANSIENT else PermanentError
        raise kind(task.why or f"told to fail as {task.fail}", {"shard": str(key.shard)})
    if task.surprise and early:
        raise ValueError(task.why)
    if task.junk:
        junk: Any = {"records": "none"}
        return cast(Made, junk)
    records = task.records - task.fewer * (key.attempt > 1)
    if task.file:
        await ctx.attach("txt", task.file.encode(), "text/plain")
    filler = "x" * task.size
    seen = len(task.upstream["outputs"]) if isinstance(task.upstream, dict) and "outputs" in task.upstream else 0
    return Made(
        records=tuple({"index": i, "filler": filler} for i in range(records)), seen=seen, attempt=key.attempt
    )
