"""docs/benchmarks.md from the figures: ``python -m benchmarks.report``."""

import statistics
import subprocess
from pathlib import Path
from typing import Any

import jinja2

from benchmarks import results
from benchmarks.systems import PEERS, ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
TEMPLATE = Path(__file__).parent / "report.md.j2"


def write() -> None:
    """Writes the page, and draws the pictures where the environment with matplotlib is."""
    PAGE.write_text(page(results.load()), encoding="utf-8")
    if PEERS.exists():
        subprocess.run([str(PEERS), "-m", "benchmarks.plots"], check=True, cwd=ROOT)


def page(found: results.Results) -> str:
    """The figures for reading; a part that was not measured is left out."""
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, autoescape=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(figures=found, ordered=_ordered(found), ratios=_ratios(found)).rstrip() + "\n"


def _ordered(found: results.Results) -> list[dict[str, Any]]:
    """The systems that ran, the fastest first."""
    rows = [
        {"name": name, "median": statistics.median(figures["steps_per_second"]), **figures}
        for name, figures in found.get("systems", {}).items()
        if "steps_per_second" in figures
    ]
    return sorted(rows, key=lambda row: -float(row["median"]))


def _ratios(found: results.Results) -> dict[str, float]:
    """The factory's median throughput over that of each other system that was measured in the same run."""
    rows = _ordered(found)
    own = next((row for row in rows if row["name"] == "factory"), None)
    if own is None:
        return {}
    others = [row for row in rows if row is not own and row.get("measured") == own.get("measured")]
    return {row["name"]: round(own["median"] / row["median"], 2) for row in others}


if __name__ == "__main__":
    write()
