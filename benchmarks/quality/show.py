"""Figures as a table."""

from collections.abc import Iterator

from rich import box
from rich.table import Table

from benchmarks.quality.measuring import Figures


def table(figures: Figures) -> Table:
    """One row for each file and method, or whatever was measured."""
    result = Table("", "of", "figures", box=box.SIMPLE_HEAD, title="Quality")
    for part, measured in figures.items():
        for index, (name, values) in enumerate(_rows(part, measured)):
            text = "  ".join(f"{key} [bold]{_shown(value)}[/]" for key, value in values.items())
            result.add_row(part if index == 0 else "", name, text, end_section=index + 1 == len(measured))
    return result


def _rows(part: str, measured: Figures) -> Iterator[tuple[str, Figures]]:
    for name, values in measured.items():
        if part == "summaries":
            yield from ((f"{name} {method}", scores) for method, scores in values.items())
        else:
            yield name, {key: value for key, value in values.items() if not isinstance(value, dict)}


def _shown(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
