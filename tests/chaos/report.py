"""What a run of rows came to, in lines, in a table, and as data."""

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic_core

from tests.chaos.matrix import Result

HEAD = ("row", "fault", "method", "runs", "submitted", "lost", "doubled", "stuck", "repeated", "dead", "recovery", "")
NOTE = """\
*lost*: submitted jobs without their execution. *doubled*: steps that took effect twice. *stuck*: executions or steps
that did not end. *repeated*: tasks whose code ran again though the attempt was the same, which at-least-once delivery
allows; only one run took effect. *dead*: dead letters, all of them injected. *recovery*: seconds from the end of the
fault to the first task that completed, the longest of the runs; the suite starts the factory's processes with
their modules loaded, and `python -m consumers` takes about a second more. "Power loss" cannot be shown with `kill -9`:
the page cache survives it.
"""


def line(result: Result) -> str:
    """One result in words."""
    verdict = result.verdict
    figures = (
        f"submitted {verdict.submitted}, lost {verdict.lost}, doubled {verdict.doubled}, stuck {verdict.stuck}, "
        f"repeated {verdict.repeated}, further attempts {verdict.attempts}, dead {sum(verdict.dead.values())}"
    )
    recovery = "" if result.recovery is None else f", recovery {result.recovery:g} s"
    normal = "" if result.normal is None else f", normal rate after {result.normal:g} s"
    head = f"{'pass' if result.passed else 'FAIL'}  row {result.key}  seed {result.seed}  ({result.seconds:.0f} s)"
    said = [head, f"      {result.fault}: {'; '.join(result.injected)}", f"      {figures}{recovery}{normal}"]
    return "\n".join([*said, *(f"      ! {problem}" for problem in verdict.problems)])


def table(results: Sequence[Result], left_out: Mapping[str, str]) -> str:
    """All rows as a table in Markdown."""
    lines = [" | ".join(HEAD).join(("| ", " |")), "|---" * len(HEAD) + "|"]
    for key in dict.fromkeys(result.key for result in results):
        runs = [result for result in results if result.key == key]
        lines.append("| " + " | ".join(_cells(runs)) + " |")
    lines += ["", NOTE]
    lines += [f"- Row {key} was not tried: {reason}" for key, reason in left_out.items()]
    return "\n".join(lines) + "\n"


def _cells(runs: Sequence[Result]) -> list[str]:
    def total(name: str) -> str:
        return str(sum(getattr(result.verdict, name) for result in runs))

    recoveries = [result.recovery for result in runs if result.recovery is not None]
    failed = [str(result.seed) for result in runs if not result.passed]
    return [
        *(runs[0].key, runs[0].fault, runs[0].method, str(len(runs))),
        *(total(name) for name in ("submitted", "lost", "doubled", "stuck", "repeated")),
        str(sum(sum(result.verdict.dead.values()) for result in runs)),
        f"{max(recoveries):.1f} s" if recoveries else "",
        f"FAIL (seed {', '.join(failed)})" if failed else "pass",
    ]


def as_data(results: Sequence[Result], left_out: Mapping[str, str]) -> str:
    """The same for programs."""
    rows: list[dict[str, Any]] = [
        {**pydantic_core.to_jsonable_python(result), "passed": result.passed} for result in results
    ]
    return json.dumps({"machine": platform.platform(), "rows": rows, "left_out": dict(left_out)}, indent=1)


def write(path: Path, results: Sequence[Result], left_out: Mapping[str, str]) -> None:
    """Writes the report: a table for a name that ends in .md, else data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".md":
        title = "# Chaos\n\nWhat `make chaos` found. Each row is a fault, tried under load on real servers.\n\n"
        path.write_text(title + table(results, left_out))
    else:
        path.write_text(as_data(results, left_out))
