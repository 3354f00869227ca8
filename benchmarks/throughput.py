"""One run of one system: started on a virtual host and a database of its own, driven, watched, and ended."""

import asyncio
import dataclasses
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import children, drive, usage
from benchmarks.systems import System
from infra.settings import Settings
from producer import provision
from tests import factories

WARM_PIPELINES = 200
"""A run counts from there on: processes have started, statements are prepared, caches are filled."""

START_SECONDS = 60.0
MEMORY_SECONDS = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """What one run came to; CPU seconds are those of broker, database and the system's own processes."""

    pipelines_per_second: float
    cpu_seconds: dict[str, float]
    steps: int
    peak_rss_mb: float
    latencies: list[float]

    @property
    def steps_per_second(self) -> float:
        """Steps finished a second."""
        return self.pipelines_per_second * drive.STEPS

    def cpu_per_1000_steps(self) -> dict[str, float]:
        """CPU seconds for a thousand steps, by part; the load's own are left out."""
        return {part: 1000 * spent / self.steps for part, spent in self.cpu_seconds.items() if part != "load"}


class RunError(Exception):
    """A system did not start, or ended."""


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """How a system is driven: ``window`` pipelines outstanding, or ``rate`` a second, for so many seconds."""

    seconds: float
    workers: int = 2
    window: int = 400
    rate: float = 0.0
    warm: int = WARM_PIPELINES
    latency: bool = False


async def run(system: System, stack: Settings, load: Load) -> Run:
    """Runs a system on the servers of a stack; raises RunError with the end of its log."""
    async with factories.corner(stack) as settings:
        if not system.peer and system.name == "factory":
            await provision.migrate(settings)
        with tempfile.TemporaryDirectory() as folder:
            return await asyncio.to_thread(_run, system, settings, load, Path(folder))


def _run(system: System, settings: Settings, load: Load, folder: Path) -> Run:
    samples = folder / "latencies"
    samples.mkdir()
    given = drive.Plan(
        settings.amqp_url,
        settings.database_url,
        load.workers,
        load.window,
        load.rate,
        samples if load.latency else None,
    )
    log = folder / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [*children.BOUND, *system.command()],
            env=system.environment(settings, given.environment()),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            return _watch(process, settings, load, samples)
        except RunError as error:
            raise RunError(f"{system.name}: {error}\n{log.read_text()[-4000:]}") from None
        finally:
            process.terminate()
            children.end(process)


def _watch(process: "subprocess.Popen[str]", settings: Settings, load: Load, samples: Path) -> Run:
    told = _told(process)
    began = time.monotonic()
    for first in told:
        if first["pipelines"] >= load.warm:
            break
        if time.monotonic() - began > START_SECONDS:
            raise RunError(f"it finished {first['pipelines']:.0f} pipelines in {START_SECONDS:g} s")
    meter = usage.Meter(settings.home, process.pid)
    before, peak = meter.read(), 0.0
    looked = 0.0
    for last in told:
        if last["at"] - looked > MEMORY_SECONDS:
            peak, looked = max(peak, meter.read().megabytes), last["at"]
        if last["at"] - first["at"] >= load.seconds:
            break
    after = meter.read()
    pipelines = int(last["pipelines"] - first["pipelines"])
    return Run(
        pipelines_per_second=pipelines / (last["at"] - first["at"]),
        cpu_seconds=after.since(before),
        steps=max(1, pipelines * drive.STEPS),
        peak_rss_mb=peak,
        latencies=_latencies(samples, first["at"]),
    )


def _told(process: "subprocess.Popen[str]") -> Iterator[dict[str, float]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)
    raise RunError(f"it ended with status {process.wait()}")


def _latencies(folder: Path, since: float) -> list[float]:
    told = [line.split() for path in folder.iterdir() for line in path.read_text().splitlines()]
    return [float(seconds) for at, seconds in told if float(at) >= since]


def quantiles(latencies: list[float]) -> dict[str, float]:
    """Milliseconds at p50, p95 and p99."""
    cuts = statistics.quantiles(latencies, n=100)
    return {name: round(1000 * cuts[rank - 1], 3) for name, rank in (("p50", 50), ("p95", 95), ("p99", 99))}
