"""What it costs to be seen: the same load with ever more of metrics, logs and traces, in turns."""

import contextlib
import dataclasses
import http.server
import statistics
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks import throughput
from benchmarks.factory import CONSUMERS, SCRAPED
from benchmarks.systems import SYSTEMS, System
from benchmarks.throughput import Load, Run
from infra.settings import Settings

SECONDS = 10.0
TURNS = 3

QUIET = {"FACTORY_LOG_SETTLEMENTS": "failed", "FACTORY_LOG_FORMAT": "json"}
SPOKEN = {"FACTORY_LOG_SETTLEMENTS": "all", "FACTORY_LOG_FORMAT": "json"}

VARIANTS: Mapping[str, Mapping[str, str]] = {
    "nothing": {**QUIET, CONSUMERS: "benchmarks.unmeasured"},
    "metrics": {**QUIET, SCRAPED: "1"},
    "metrics and logs": {**SPOKEN, SCRAPED: "1"},
    "metrics, logs and a tenth of the traces": {**SPOKEN, SCRAPED: "1", "FACTORY_TRACES_RATIO": "0.1"},
    "metrics, logs and all traces": {**SPOKEN, SCRAPED: "1", "FACTORY_TRACES_RATIO": "1"},
}
"""Metrics are collected each second, fifteen times as often as by default; the log has a line for each settlement."""


async def measure(stack: Settings) -> dict[str, Any]:
    """Steps a second and CPU of each variant."""
    runs: dict[str, list[Run]] = {name: [] for name in VARIANTS}
    with collector() as endpoint:
        for _ in range(TURNS):
            for name, environment in VARIANTS.items():
                traced = {"FACTORY_TRACES_ENDPOINT": endpoint} if "FACTORY_TRACES_RATIO" in environment else {}
                runs[name].append(await throughput.run(_system({**environment, **traced}), stack, Load(SECONDS)))
    return {"seconds": SECONDS, "variants": {name: _figures(found) for name, found in runs.items()}}


def _system(environment: Mapping[str, str]) -> System:
    return dataclasses.replace(SYSTEMS["factory"], extra=environment)


def _figures(runs: list[Run]) -> dict[str, Any]:
    return {
        "steps_per_second": [round(run.steps_per_second, 1) for run in runs],
        "cpu_seconds_per_1000_steps": round(
            statistics.median(sum(run.cpu_per_1000_steps().values()) for run in runs), 3
        ),
    }


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Takes spans and keeps none."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing of each request."""


@contextlib.contextmanager
def collector() -> Iterator[str]:
    """The address of a collector of traces, in a thread of this process."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
