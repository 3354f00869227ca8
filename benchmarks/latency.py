"""From the end of a step to the start of the next one: idle, at half of the most that a system does, and on the way up
to where it breaks."""

from collections.abc import Sequence
from typing import Any

from benchmarks import drive, throughput
from benchmarks.systems import System
from benchmarks.throughput import Load, Run
from infra.settings import Settings

IDLE_RATE = 4.0
"""Pipelines begun a second, so that one is nearly always over before the next begins."""

CURVE = (0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Parts of the highest throughput at which the curve is measured."""

LEAST_SAMPLES = 100


async def measure(system: System, stack: Settings, seconds: float, most: float) -> dict[str, Any]:
    """Milliseconds idle and at half of ``most`` pipelines a second."""
    return {
        "idle": await at_rate(system, stack, seconds, IDLE_RATE),
        "half": await at_rate(system, stack, seconds, most / 2),
    }


async def curve(
    system: System, stack: Settings, seconds: float, most: float, parts: Sequence[float] = CURVE
) -> list[dict[str, Any]]:
    """The same at rising rates; where the system no longer keeps up, the latency rises without end."""
    return [{"part": part, **await at_rate(system, stack, seconds, part * most)} for part in parts]


async def at_rate(system: System, stack: Settings, seconds: float, rate: float) -> dict[str, Any]:
    """Milliseconds at so many pipelines begun a second, and how many ended."""
    enough = LEAST_SAMPLES / rate / (drive.STEPS - 1)
    load = Load(seconds=max(seconds, enough), rate=rate, warm=max(4, int(2 * rate)), latency=True)
    found: Run = await throughput.run(system, stack, load)
    return {
        "begun_per_second": round(rate, 2),
        "ended_per_second": round(found.pipelines_per_second, 2),
        "samples": len(found.latencies),
        **(throughput.quantiles(found.latencies) if len(found.latencies) >= LEAST_SAMPLES else {}),
    }
