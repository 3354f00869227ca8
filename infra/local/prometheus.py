"""What a Prometheus on this machine needs to know of the local stack: whom to ask, and which rules hold."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

FILE = "prometheus.yaml"
RULES = Path(__file__).parents[1] / "prometheus"

QUEUES = {"family": ["queue_coarse_metrics", "queue_consumer_count"]}
"""What RabbitMQ is to tell of each queue; by itself it tells only sums."""


def configuration(
    processes: Mapping[str, int],
    broker: int | None,
    others: Mapping[str, int] | None = None,
    *,
    interval: float = 15.0,
    rules: Sequence[Path] | None = None,
) -> str:
    """The file that Prometheus starts with, in YAML.

    ``processes`` are the factory's by their name, ``others`` exporters by the name of their job, each with its port on
    this machine; ``broker`` is the port of RabbitMQ's own metrics. All are asked every ``interval`` seconds.
    """
    every = f"{round(interval * 1000)}ms"
    found = sorted(RULES.glob("*.rules.yaml")) if rules is None else rules
    ours = [_target(port, process=name) for name, port in processes.items()]
    jobs: list[dict[str, object]] = [{"job_name": "factory", "static_configs": ours}]
    for name, port in (others or {}).items():
        jobs.append({"job_name": name, "static_configs": [_target(port)]})
    if broker is not None:
        at = [_target(broker)]
        jobs.append({"job_name": "rabbitmq", "static_configs": at})
        detailed = {"job_name": "rabbitmq-queues", "metrics_path": "/metrics/detailed", "params": QUEUES}
        jobs.append({**detailed, "static_configs": at})
    return yaml.safe_dump(
        {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": [str(path.resolve()) for path in found],
            "scrape_configs": jobs,
        },
        sort_keys=False,
    )


def write(home: Path, processes: Mapping[str, int], broker: int | None) -> None:
    """Keeps the configuration in the home folder."""
    (home / FILE).write_text(configuration(processes, broker))


def _target(port: int, **labels: str) -> dict[str, object]:
    target: dict[str, object] = {"targets": [f"127.0.0.1:{port}"]}
    return {**target, "labels": labels} if labels else target
