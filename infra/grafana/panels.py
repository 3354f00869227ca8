"""What a dashboard consists of, as values: boards, sections, panels and the queries that they ask."""

import dataclasses
from typing import Literal, TypedDict, Unpack

Colour = Literal["green", "yellow", "red"]
Kind = Literal["figure", "graph", "table"]
"""One number; lines over time; rows."""

FULL, HALF, THIRD, QUARTER = 24, 12, 8, 6
"""Widths of panels; a dashboard is 24 wide."""


@dataclasses.dataclass(frozen=True, slots=True)
class Prometheus:
    """A question to Prometheus; ``legend`` names its series by their labels, ``{{tier}}``."""

    text: str
    legend: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Postgres:
    """A question to the views that the role ``factory_reader`` may read."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    ``unit`` is Grafana's name of it. ``limits`` colour a value from the number on; below the first it is green, without
    any it is plain. ``runbook`` is an alert, ``board`` the dashboard that shows more. A table's ``columns`` have units
    of their own, and ``opens`` names one whose values, when clicked, open a dashboard with a variable of that name.
    """

    title: str
    says: str
    queries: tuple[Prometheus | Postgres, ...]
    kind: Kind = "graph"
    unit: str = "short"
    width: int = THIRD
    height: int = 8
    limits: tuple[tuple[float, Colour], ...] = ()
    stacked: bool = False
    least: float | None = 0.0
    runbook: str | None = None
    board: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    opens: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    """Panels under a title."""

    title: str
    panels: tuple[Panel, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard: the values of a metric's label of that name, or free text."""

    name: str
    title: str
    metric: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Board:
    """A dashboard; ``name`` is part of its address."""

    name: str
    title: str
    says: str
    sections: tuple[Section, ...]
    variables: tuple[Variable, ...] = ()
    span: str = "now-1h"

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels in their order."""
        return tuple(panel for section in self.sections for panel in section.panels)


class Rest(TypedDict, total=False):
    """What a panel may say besides; the fields of Panel that have defaults."""

    kind: Kind
    unit: str
    width: int
    height: int
    limits: tuple[tuple[float, Colour], ...]
    stacked: bool
    least: float | None
    runbook: str | None
    board: str | None
    columns: tuple[tuple[str, str], ...]
    opens: tuple[str, str] | None


def figure(title: str, says: str, query: str, **rest: Unpack[Rest]) -> Panel:
    """One number over its recent course."""
    chosen: Rest = {"kind": "figure", "width": QUARTER, "height": 4, **rest}
    return Panel(title, says, (Prometheus(query),), **chosen)


def graph(title: str, says: str, *queries: Prometheus, **rest: Unpack[Rest]) -> Panel:
    """Lines over time."""
    return Panel(title, says, queries, **rest)


def table(title: str, says: str, query: str, **rest: Unpack[Rest]) -> Panel:
    """Rows of a view."""
    chosen: Rest = {"kind": "table", "width": FULL, **rest}
    return Panel(title, says, (Postgres(query),), **chosen)


HALF_AND_MOST = (0.5, 0.95)
ALMOST_ALL = (0.5, 0.95, 0.99)


def quantiles(
    metric: str, by: str = "", parts: tuple[float, ...] = ALMOST_ALL, where: str = ""
) -> tuple[Prometheus, ...]:
    """Questions for parts of what a histogram has counted lately, for each value of a label if one is named."""
    labels = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    rate = f"rate({metric}_bucket{f'{{{where}}}' if where else ''}[$__rate_interval])"
    return tuple(
        Prometheus(f"histogram_quantile({part}, sum by ({labels}) ({rate}))", f"{legend}p{part * 100:.0f}")
        for part in parts
    )
