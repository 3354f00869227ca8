"""All dashboards, as values, as the files that Grafana loads, and as a page to read."""

from collections.abc import Iterator
from pathlib import Path

from infra.grafana import build, runbooks
from infra.grafana.boards import cost, execution, overview, servers, stages, tiers
from infra.grafana.panels import Board, Panel, Postgres

FOLDER = Path(__file__).parent / "dashboards"

BOARDS: tuple[Board, ...] = (overview.BOARD, stages.BOARD, tiers.BOARD, cost.BOARD, servers.BOARD, execution.BOARD)

_KINDS = {"figure": "a number", "graph": "a graph", "table": "a table"}


def files() -> dict[str, str]:
    """The text of every dashboard by the name of its file."""
    places = runbooks.places()
    made = {f"{board.name}.json": build.document(board, places) for board in BOARDS}
    return {**made, f"{runbooks.NAME}.json": runbooks.document()}


def page() -> str:
    """The dashboards panel by panel, as Markdown."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# Dashboards"
    yield ""
    yield "What each panel shows. Docker Compose gives the dashboards to its Grafana; any other Grafana can import them"
    yield "from [`infra/grafana/dashboards`](../infra/grafana/dashboards). This page and those files are written by"
    yield "`make docs` from [`infra/grafana/boards`](../infra/grafana/boards)."
    for board in BOARDS:
        yield from ("", f"## {board.title}", "", board.says)
        if board.variables:
            choices = ", ".join(variable.title.lower() for variable in board.variables)
            yield from ("", f"To choose: {choices}.")
        for section in board.sections:
            yield from ("", f"### {section.title}", "", "| panel | shows | as | asks |", "|---|---|---|---|")
            for panel in section.panels:
                yield _row(panel)


def _row(panel: Panel) -> str:
    says = panel.says
    if panel.board is not None:
        says += f" More in *{panel.board}*."
    if panel.runbook is not None:
        says += f" Runbook: [{panel.runbook}](runbooks.md#{panel.runbook.lower()})."
    asks = "Postgres" if isinstance(panel.queries[0], Postgres) else "Prometheus"
    return f"| {panel.title} | {says} | {_KINDS[panel.kind]} | {asks} |"
