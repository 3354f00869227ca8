"""Writes what is derived from the code into this folder: the contracts' schemas, the metrics, the dashboards."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from contracts import schema
from contracts.messages import Json
from infra import census, metrics
from infra.grafana import library
from infra.registries import Described

FOLDER = Path(__file__).parent

_INTRODUCTION = """Every coordinator and worker that is started with `--health-port` answers `/metrics` in Prometheus'
text format. Processes do not share counters, so any number of them may run: a query adds up what each has measured. No
label is ever the id of anything. This page is written by `make docs` from
[`infra/metrics.py`](../infra/metrics.py) and [`infra/census.py`](../infra/census.py).
[Operating](operating.md#metrics-and-alerts) says how to collect them, [dashboards](dashboards.md) what to see of
them."""


def files() -> dict[str, str]:
    """The text of every generated file by its path in this folder."""
    documents: dict[str, Json] = {f"schemas/{name}.json": found for name, found in schema.json_schemas().items()}
    documents["asyncapi.json"] = schema.asyncapi()
    written = {name: json.dumps(found, indent=2, ensure_ascii=False) + "\n" for name, found in documents.items()}
    return {**written, "metrics.md": "\n".join(_metrics()) + "\n", "dashboards.md": library.page()}


def _metrics() -> Iterator[str]:
    yield from ("# Metrics", "", _INTRODUCTION)
    measured: list[tuple[str, str, str]] = [
        ("coordinator", "Coordinators", "Each measures its own part: add them up (`sum`)."),
        ("worker", "Workers", "Each measures its own part: add them up (`sum`)."),
        ("every process", "Every process", "With those of Python and of the process: `python_*`, `process_*`."),
    ]
    for process, title, says in measured:
        yield from _table(title, says, [row for row in metrics.TABLE if row.process == process])
    says = "Coordinators read it from Postgres when they are asked, and each tells the same: take the greatest (`max`)."
    yield from _table("State", says, census.TABLE)


def _table(title: str, says: str, rows: Iterable[Described]) -> Iterator[str]:
    yield from ("", f"## {title}", "", says, "", "| metric | kind | labels | what it is |", "|---|---|---|---|")
    for row in rows:
        yield f"| `{row.name}` | {row.kind} | {', '.join(row.labels)} | {row.explanation} |"


def main() -> None:
    """Replace what is there."""
    (FOLDER / "schemas").mkdir(exist_ok=True)
    for stale in (FOLDER / "schemas").glob("*.json"):
        stale.unlink()
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
