"""Pictures of the figures, drawn with matplotlib in the environment of the peers: ``python -m benchmarks.plots``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "benchmarks"
Results = dict[str, Any]
TIERS = ("basic", "standard", "premium", "enterprise")
"""In the order in which the points count them."""


def throughput(results: Results, axes: Any) -> None:
    """Steps a second of each system, a mark for each run."""
    systems = {name: found for name, found in results["systems"].items() if "steps_per_second" in found}
    order = sorted(systems, key=lambda name: max(systems[name]["steps_per_second"]))
    for place, name in enumerate(order):
        runs = sorted(systems[name]["steps_per_second"])
        median = runs[len(runs) // 2]
        axes.barh(place, median, color="tab:blue" if name == "factory" else "tab:gray", alpha=0.7)
        axes.plot(runs, [place] * len(runs), "k|")
    axes.set_yticks(range(len(order)), order)
    axes.set_xlabel("steps a second (bar: median, marks: runs)")


def latency(results: Results, axes: Any) -> None:
    """Latency of the factory from step to step, over the rate of pipelines."""
    curve = [point for point in results["latency"]["factory"]["curve"] if "p50" in point]
    for name in ("p50", "p95", "p99"):
        axes.plot([p["begun_per_second"] * 5 for p in curve], [p[name] for p in curve], "o-", label=name)
    axes.set_yscale("log")
    axes.set_xlabel("steps a second")
    axes.set_ylabel("ms from the end of a step to the start of the next")
    axes.legend()


def fairness(results: Results, axes: Any) -> None:
    """Starts of each tier over time, all of them saturated, fifty clients in each; a share is a slope."""
    found = next(row for row in results["fairness"]["shares"] if row["clients_per_tier"] > 1)
    for place, tier in enumerate(TIERS, start=1):
        axes.plot([point[0] for point in found["points"]], [point[place] for point in found["points"]], label=tier)
    axes.set_xlabel(f"seconds ({found['variant']})")
    axes.set_ylabel("executions started")
    axes.legend()


def waits(results: Results, axes: Any) -> None:
    """How long each of ten jobs waited that came while a flood was there."""
    flood = results["fairness"]["flood"]
    for row in flood["arrivals"]:
        axes.plot(range(1, len(row["waits"]) + 1), row["waits"], "o-", label=f"{row['phase']}: {row['tier']}")
    axes.axhline(flood["service_seconds"], color="black", linestyle=":", label="one service time")
    axes.set_xlabel("job")
    axes.set_ylabel("seconds from stored to started")
    axes.legend(fontsize="small")


PICTURES: dict[str, tuple[str, Callable[[Results, Any], None]]] = {
    "throughput": ("systems", throughput),
    "latency": ("latency", latency),
    "fairness": ("fairness", fairness),
    "waits": ("fairness", waits),
}


def main() -> None:
    """Draws what was measured; what was not is left as it is."""
    mpl.use("svg")
    # Without these every drawing of the same figures would be another file.
    mpl.rcParams["svg.hashsalt"] = "benchmarks"
    results: Results = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    FOLDER.mkdir(exist_ok=True)
    for name, (part, draw) in PICTURES.items():
        if part in results:
            figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
            draw(results, axes)
            figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})
            pyplot.close(figure)


if __name__ == "__main__":
    main()
