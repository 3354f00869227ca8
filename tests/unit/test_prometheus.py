"""The rules of Prometheus and the files that it starts with are sound, and name only what is there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.tiers import Tier
from infra import census, metrics
from infra.grafana import runbooks
from infra.local import prometheus
from tests.monitoring import promtool

ROOT = Path(__file__).parents[2]
RULES = sorted(prometheus.RULES.glob("*.rules.yaml"))
FACTORY_METRIC = re.compile(r"\bfactory_[a-z0-9_]+\b")
RECORDED = re.compile(r"\bfactory:[a-z0-9_:]+\b")
SUFFIXES = ("_bucket", "_sum", "_count")


def rules() -> Iterator[dict[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


ALERTS = [rule for rule in rules() if "alert" in rule]
EXPRESSIONS = [rule["expr"] for rule in rules()]


def measured() -> set[str]:
    """Every name under which something of the factory can be asked for."""
    found = set()
    for row in (*metrics.TABLE, *census.TABLE):
        found |= {row.name + suffix for suffix in SUFFIXES} if row.kind == "histogram" else {row.name}
    return found


def test_the_rules_are_sound() -> None:
    said = promtool("check", "rules", *map(str, RULES))
    assert f"SUCCESS: {len(ALERTS)} rules found" in said


def test_each_alert_fires_and_clears_when_it_should() -> None:
    tests = sorted((prometheus.RULES / "tests").glob("*.yaml"))
    assert tests
    promtool("test", "rules", *map(str, tests))
    tried = {
        case["alertname"]
        for path in tests
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }
    assert tried == {rule["alert"] for rule in ALERTS}


def test_the_files_that_prometheus_starts_with_are_sound(tmp_path: Path) -> None:
    prometheus.write(tmp_path, {"coordinator": 8081, "worker": 8082}, 15692)
    promtool("check", "config", str(tmp_path / prometheus.FILE))
    written = yaml.safe_load((tmp_path / prometheus.FILE).read_text())
    assert written["rule_files"] == [str(path) for path in RULES]
    assert [job["job_name"] for job in written["scrape_configs"]] == ["factory", "rabbitmq", "rabbitmq-queues"]
    # Compose mounts the rules beside its configuration.
    composed = tmp_path / "compose"
    (composed / "rules").mkdir(parents=True)
    (composed / "prometheus.yaml").write_bytes((ROOT / "infra" / "compose" / "prometheus.yaml").read_bytes())
    for path in RULES:
        (composed / "rules" / path.name).write_bytes(path.read_bytes())
    assert f"{len(RULES)} rule files found" in promtool("check", "config", str(composed / "prometheus.yaml"))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_rule_asks_only_for_what_is_measured_or_recorded(expression: str) -> None:
    assert set(FACTORY_METRIC.findall(expression)) <= measured()
    assert set(RECORDED.findall(expression)) <= {rule["record"] for rule in rules() if "record" in rule}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_is_wrong_and_leads_to_its_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks.md#{alert['alert'].lower()}"
    words = runbooks.chapters()[alert["alert"]]
    assert "**Means.**" in words
    assert re.search(r"\*\*(Do|Look and do)\.\*\*", words)


def test_each_alert_is_fired_by_its_fault_in_a_test() -> None:
    text = (ROOT / "tests" / "e2e" / "test_alerts.py").read_text()
    assert [rule["alert"] for rule in ALERTS if f'"{rule["alert"]}"' not in text] == []


def test_no_runbook_is_left_of_an_alert_that_is_gone() -> None:
    assert set(runbooks.chapters()) == {rule["alert"] for rule in ALERTS}


def test_every_tier_has_a_limit() -> None:
    limits = {rule["labels"]["tier"] for rule in rules() if rule.get("record") == "factory:queue_age_limit:seconds"}
    assert limits == {tier.value for tier in Tier}


@pytest.mark.parametrize("row", [*metrics.TABLE, *census.TABLE], ids=lambda row: str(row.name))
def test_a_metric_is_named_as_prometheus_names_them(row: Any) -> None:
    assert re.fullmatch(r"factory(_[a-z]+)+", row.name)
    assert row.name.endswith("_total") == (row.kind == "counter")
    assert row.explanation.endswith(".")
    # A label with an id would make a time series of each.
    assert set(row.labels) <= {
        *("stage", "tier", "template", "outcome", "status", "kind", "reason", "error_class", "way", "direction"),
        "figure",
        *("operation", "result", "model"),
    }


def test_no_metric_is_named_twice() -> None:
    names = [row.name for row in (*metrics.TABLE, *census.TABLE)]
    assert len(names) == len(set(names))
