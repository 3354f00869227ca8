"""The systems side by side: throughput in turns, and latency at the same parts of what each can do."""

import asyncio
import datetime
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import latency, throughput
from benchmarks.systems import SYSTEMS
from benchmarks.throughput import Load, Run, RunError
from infra.settings import Settings

Say = Callable[[str], None]
Figures = dict[str, Any]


def speed(servers: Settings, names: Sequence[str], seconds: float, alternations: int, say: Say) -> Figures:
    """Figures of each system; they take turns, so that a machine that slows down slows all of them down."""
    runs: dict[str, list[Run]] = {name: [] for name in names}
    left_out: dict[str, str] = {}
    for turn in range(alternations):
        for name in [name for name in names if name not in left_out]:
            window = SYSTEMS[name].window
            load = Load(seconds, window=window, warm=window // 2)
            try:
                run = asyncio.run(throughput.run(SYSTEMS[name], servers, load))
            except RunError as error:
                left_out[name] = str(error).splitlines()[0]
                say(f"{name} is left out: {error}")
                continue
            runs[name].append(run)
            say(f"{turn + 1}/{alternations} {name}: {run.steps_per_second:.0f} steps/s")
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    told = {name: {**_figures(name, found), "measured": when} for name, found in runs.items() if name not in left_out}
    return {**told, **{name: {"left_out": reason} for name, reason in left_out.items()}}


def _figures(name: str, runs: Sequence[Run]) -> Figures:
    spent = [run.cpu_per_1000_steps() for run in runs]
    return {
        "steps_per_second": [round(run.steps_per_second, 1) for run in runs],
        "pipelines_per_second": round(statistics.median(run.pipelines_per_second for run in runs), 1),
        "durable": SYSTEMS[name].durable,
        "cpu_seconds_per_1000_steps": round(statistics.median(sum(parts.values()) for parts in spent), 3),
        "cpu_by_part": {part: round(statistics.median(parts[part] for parts in spent), 3) for part in spent[0]},
        "peak_rss_mb": round(max(run.peak_rss_mb for run in runs), 1),
    }


def hops(servers: Settings, names: Sequence[str], seconds: float, known: Figures, say: Say) -> Figures:
    """Latency of each system whose throughput is ``known``, and the factory's whole curve."""
    figures: Figures = {}
    for name in names:
        most = known.get(name, {}).get("pipelines_per_second")
        if not most:
            continue
        try:
            figures[name] = asyncio.run(latency.measure(SYSTEMS[name], servers, seconds, most))
            if name == "factory":
                figures[name]["curve"] = asyncio.run(latency.curve(SYSTEMS[name], servers, seconds, most))
        except RunError as error:
            figures[name] = {"left_out": str(error).splitlines()[0]}
        say(f"{name}: {figures[name]}")
    return figures
