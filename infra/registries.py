"""How a metric is made: once, in the registry of the kind of process that measures it, and with a row in the table."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import prometheus_client
from prometheus_client import Counter as Counter
from prometheus_client import Gauge as Gauge
from prometheus_client import Histogram as Histogram

Process = Literal["coordinator", "worker", "every process"]

REGISTRIES: dict[Process, prometheus_client.CollectorRegistry] = {
    "coordinator": prometheus_client.CollectorRegistry(),
    "worker": prometheus_client.CollectorRegistry(),
    "every process": prometheus_client.CollectorRegistry(),
}
"""By who measures it: a process shows its own and what every process measures."""

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Seconds of what takes milliseconds: confirms, batches, hops."""

WORK = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1200.0)
"""Seconds of what may last as long as a task, whose time-out is 20 minutes at most."""

LIFE = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
"""Seconds of what may last as long as an execution, or wait as long."""

COUNTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Described:
    """A metric as the table lists it; ``kind`` is Prometheus' own word."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    process: Process
    explanation: str


ROWS: list[Described] = []
"""What was made, in that order."""


def counter(process: Process, name: str, explanation: str, *labels: str) -> Counter:
    """A counter, whose name ends in ``_total``."""
    ROWS.append(Described(name, "counter", labels, process, explanation))
    return Counter(name, explanation, labels, registry=REGISTRIES[process])


def gauge(process: Process, name: str, explanation: str, *labels: str) -> Gauge:
    """A gauge."""
    ROWS.append(Described(name, "gauge", labels, process, explanation))
    return Gauge(name, explanation, labels, registry=REGISTRIES[process])


def histogram(process: Process, name: str, explanation: str, buckets: Sequence[float], *labels: str) -> Histogram:
    """A histogram with these upper bounds."""
    ROWS.append(Described(name, "histogram", labels, process, explanation))
    return Histogram(name, explanation, labels, registry=REGISTRIES[process], buckets=buckets)
