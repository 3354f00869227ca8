"""How a system is driven: a window of pipelines kept outstanding, or so many a second, with a line of progress for each
fifth of a second. It uses the standard library alone, because every system runs it in its own environment."""

import asyncio
import dataclasses
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TextIO

STEPS = 5
"""Steps of a pipeline, each a no-op that hands on a document of a few bytes."""

TELL_SECONDS = 0.2
FEED_SECONDS = 0.02


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What a run shall do. ``window`` pipelines are kept outstanding unless ``rate`` says how many begin a second."""

    amqp_url: str
    database_url: str
    workers: int
    window: int
    rate: float
    latencies: Path | None

    def environment(self) -> dict[str, str]:
        """The plan for a child process."""
        return {
            "BENCH_AMQP_URL": self.amqp_url,
            "BENCH_DATABASE_URL": self.database_url,
            "BENCH_WORKERS": str(self.workers),
            "BENCH_WINDOW": str(self.window),
            "BENCH_RATE": str(self.rate),
            "BENCH_LATENCIES": str(self.latencies or ""),
        }


def plan() -> Plan:
    """The plan that this process was started with."""
    given = os.environ
    return Plan(
        amqp_url=given["BENCH_AMQP_URL"],
        database_url=given["BENCH_DATABASE_URL"],
        workers=int(given["BENCH_WORKERS"]),
        window=int(given["BENCH_WINDOW"]),
        rate=float(given["BENCH_RATE"]),
        latencies=Path(given["BENCH_LATENCIES"]) if given["BENCH_LATENCIES"] else None,
    )


@functools.cache
def _sink() -> TextIO | None:
    folder = os.environ.get("BENCH_LATENCIES")
    return (Path(folder) / str(os.getpid())).open("a", buffering=1) if folder else None


def hop(finished: float | None) -> float:
    """Called where a step starts, with what the step before returned here (None in a first step); writes down how long
    it took from there to here if the run measures latency. Returns the present moment for the step after it.

    The monotonic clock of Linux is one for all processes of a machine.
    """
    now = time.monotonic()
    if finished is not None and (sink := _sink()) is not None:
        sink.write(f"{now:.3f} {now - finished:.6f}\n")
    return now


def tell(pipelines: int) -> None:
    """Says how many pipelines are finished by now."""
    sys.stdout.write(json.dumps({"at": time.monotonic(), "pipelines": pipelines}) + "\n")
    sys.stdout.flush()


async def drive(
    given: Plan, submit: Callable[[int], Awaitable[object]], finished: Callable[[], Awaitable[int]]
) -> None:
    """Submits pipelines and tells how many are finished until the process gets SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    submitted = done = 0
    began = told = time.monotonic()
    while not stop.is_set():
        now = time.monotonic()
        if not done:
            began = now
        if now - told >= TELL_SECONDS:
            done, told = await finished(), now
            tell(done)
        # At a rate, the clock begins when the first pipeline is through: what starts up owes nothing.
        wanted = 1 + int(given.rate * (now - began)) if given.rate else done + given.window
        if wanted > submitted:
            await submit(wanted - submitted)
            submitted = wanted
        try:
            async with asyncio.timeout(FEED_SECONDS):
                await stop.wait()
        except TimeoutError:
            continue
