"""The dashboards are what the code makes, and every panel explains itself, has a unit and asks for what is there."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra import census, metrics
from infra.grafana import library
from infra.grafana.panels import Board, Panel, Prometheus
from tests.unit.test_prometheus import FACTORY_METRIC, RECORDED, measured, rules

PANELS = [(board, panel) for board in library.BOARDS for panel in board.panels]
FILES = library.files()
panels = pytest.mark.parametrize(("board", "panel"), PANELS, ids=lambda value: getattr(value, "title", ""))


@pytest.mark.parametrize("name", FILES)
def test_a_dashboard_is_current(name: str) -> None:
    path = library.FOLDER / name
    assert path.is_file(), f"{name} is missing; run `make docs`"
    assert path.read_text(encoding="utf-8") == FILES[name], f"{name} is out of date; run `make docs`"


def test_no_dashboard_is_left_that_nothing_makes() -> None:
    assert {path.name for path in library.FOLDER.iterdir()} == set(FILES)


@panels
def test_a_panel_explains_itself(board: Board, panel: Panel) -> None:
    assert panel.says.endswith(".")
    assert panel.queries
    assert panel.board is None or panel.board in {other.name for other in library.BOARDS}
    assert panel.runbook is None or panel.runbook in {rule.get("alert") for rule in rules()}
    assert [other.title for other in board.panels].count(panel.title) == 1


@panels
def test_a_panel_asks_only_for_what_is_measured_or_recorded(board: Board, panel: Panel) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for query in panel.queries:
        if isinstance(query, Prometheus):
            assert set(FACTORY_METRIC.findall(query.text)) <= measured()
            assert set(RECORDED.findall(query.text)) <= recorded


def test_whatever_is_measured_is_shown_somewhere() -> None:
    asked = " ".join(query.text for _, panel in PANELS for query in panel.queries)
    asked += " ".join(rule["expr"] for rule in rules())
    assert {row.name for row in (*metrics.TABLE, *census.TABLE) if row.name not in asked} == set()


@pytest.mark.parametrize("name", FILES)
def test_grafana_gets_what_it_needs_of_every_panel(name: str) -> None:
    document = json.loads(FILES[name])
    assert document["uid"] == f"factory-{Path(name).stem}"
    made: list[dict[str, Any]] = [panel for panel in document["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in made}) == len(made)
    for panel in made:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] != "text":
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["datasource"]["uid"] in ("${prometheus}", "${postgres}")
            assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])])
    chosen = {variable["name"] for variable in document["templating"].get("list", [])}
    for panel in made:
        for target in panel.get("targets", []):
            asked = json.dumps(target)
            for variable in ("stage", "tier"):
                assert f'\\"${variable}\\"' not in asked or variable in chosen
