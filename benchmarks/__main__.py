"""``python -m benchmarks``: the factory beside a floor program and other systems, on servers of its own in one run."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import (
    comparison,
    environment,
    fairness,
    feeds,
    growth,
    idle,
    instruments,
    profile,
    report,
    results,
    use,
)
from benchmarks.systems import SYSTEMS
from infra.local import stack
from infra.settings import Settings

Measure = Callable[[Settings], Coroutine[None, None, dict[str, Any]]]

OWN: dict[str, Measure] = {
    "fairness": fairness.measure,
    "growth": growth.measure,
    "idle": idle.measure,
    "use": use.measure,
    "feeds": feeds.measure,
    "profile": profile.measure,
    "instruments": instruments.measure,
}
"""What is measured of the factory alone."""

PARTS = ("throughput", "latency", *OWN)


def _chosen(given: str, known: tuple[str, ...], option: str) -> list[str]:
    names = [name.strip() for name in given.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"'{name}' is not known; choose from {', '.join(known)}", param_hint=option)
    return names or list(known)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(
    systems: Annotated[str, typer.Option(help="Only these, separated by commas, and only their throughput.")] = "",
    parts: Annotated[str, typer.Option(help=f"Only these parts of {', '.join(PARTS)}.")] = "",
    seconds_each: Annotated[float, typer.Option(help="Seconds of each run, after it is warm.", min=1)] = 20.0,
    alternations: Annotated[int, typer.Option(help="How often each system runs.", min=1)] = 3,
) -> None:
    """Measures, and writes benchmarks/results.json and docs/benchmarks.md."""
    names = _chosen(systems, tuple(SYSTEMS), "--systems")
    chosen = _chosen(parts or ("throughput" if systems else ""), PARTS, "--parts")
    versions = environment.prepare(_say) if any(SYSTEMS[name].peer for name in names) else {}
    with tempfile.TemporaryDirectory() as folder, stack.temporary(Path(folder) / "servers", quick=False) as servers:
        for part in chosen:
            _measure(part, servers, names, seconds_each, alternations, versions)
    report.write()
    _say(f"the figures are in {results.PATH}, and for reading in {report.PAGE}")


def _measure(
    part: str, servers: Settings, names: list[str], seconds: float, alternations: int, versions: dict[str, str]
) -> None:
    _say(f"--- {part}")
    if part == "throughput":
        results.save("systems", comparison.speed(servers, names, seconds, alternations, _say), versions)
    elif part == "latency":
        known = results.load().get("systems", {})
        results.save("latency", comparison.hops(servers, names, seconds, known, _say), versions)
    else:
        figures = asyncio.run(OWN[part](servers))
        results.save(part, figures, versions)
        _say(json.dumps(figures, indent=1)[:4000])


if __name__ == "__main__":
    typer.run(main)
