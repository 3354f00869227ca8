"""The `factory` command against real servers and real processes: templates, jobs, executions, deliverables, status."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.tiers import Tier
from infra import revision
from infra.local import processes
from producer import installation
from tests.factories import PATIENCE, Factory, eventually
from tests.launcher import ROOT

PIPELINE = """
name: counted
title: Three steps of the test stage
parameters:
  - {name: log, type: string, required: true}
  - {name: records, type: integer, default: 3, minimum: 1, maximum: 9}
  - {name: seconds, type: number, default: 0.0}
steps:
  - name: find
    stage: effect
    parameters: {log: parameters.log, records: parameters.records, seconds: parameters.seconds}
  - name: read
    stage: effect
    depends_on: [find]
    fan_out: {over: [find], field: record, join: {policy: any}}
    retry: {attempts: 1}
    parameters: {log: parameters.log, fail: "'permanent'", fail_shards: "[2]", records: "2"}
  - name: tell
    stage: effect
    depends_on: [read]
    inputs: {upstream: read}
    parameters: {log: parameters.log, size: "6000"}
    deliver: [json]
"""


# Each command is a process of its own, and a factory is four more: where much else runs, that takes its time.
pytestmark = pytest.mark.timeout(300)


class Cli:
    """The command with the environment of one factory and a home folder of its own."""

    def __init__(self, factory: Factory, home: Path) -> None:
        self.factory = factory
        self.home = home
        self.environment = {**factory.environment, "FACTORY_HOME": str(home)}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a command in a folder that has nothing to do with the project."""
        return subprocess.Popen(
            [sys.executable, "-m", "producer.cli", *arguments],
            env=self.environment,
            cwd=self.home.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def run(self, *arguments: str, status: int = 0) -> str:
        """What a command printed on standard output, or on standard error where it is to fail."""
        process = self.start(*arguments)
        out, err = await asyncio.to_thread(process.communicate)
        assert process.returncode == status, f"{arguments} ended with {process.returncode}: {out}{err}"
        assert "Traceback" not in err
        return err if status else out

    async def json(self, *arguments: str, status: int = 0) -> Any:
        """The one document that a command printed."""
        process = self.start(*arguments, "--json")
        out, err = await asyncio.to_thread(process.communicate)
        assert process.returncode == status, f"{arguments} ended with {process.returncode}: {out}{err}"
        return json.loads(out)


@pytest.fixture
def cli(factory: Factory, tmp_path: Path) -> Cli:
    return Cli(factory, tmp_path / "home")


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    path = tmp_path / "counted.yaml"
    path.write_text(PIPELINE)
    return path


def write(path: Path, text: str) -> None:
    path.write_text(text)


async def test_templates_are_applied_once_compared_and_exported(cli: Cli, pipeline: Path) -> None:
    applied = {"name": "counted", "version": 1}
    assert await cli.json("templates", "apply", str(pipeline)) == [{**applied, "changed": True}]
    assert await cli.json("templates", "apply", str(pipeline)) == [{**applied, "changed": False}]

    exported = pipeline.with_name("exported.yaml")
    await cli.run("templates", "export", "counted", "-o", str(exported))
    assert yaml.safe_load(exported.read_text())["steps"][0]["timeout"] == 30
    assert await cli.json("templates", "apply", str(exported)) == [{**applied, "changed": False}]

    write(pipeline, PIPELINE.replace("maximum: 9", "maximum: 8"))
    assert (await cli.json("templates", "apply", str(pipeline)))[0]["version"] == 2
    diff = (await cli.json("templates", "diff", "counted", "1", "2"))["diff"]
    assert [line for line in diff[2:] if line[0] in "+-"] == ["-  maximum: 9.0", "+  maximum: 8.0"]
    assert [(r["name"], r["version"]) for r in await cli.json("templates", "list")] == [("counted", 2), ("counted", 1)]
    shown = await cli.json("templates", "show", "counted", "--version", "1")
    assert shown["parameters"][1]["maximum"] == 9
    assert "did you mean 'counted'" in await cli.run("templates", "show", "count", status=1)


async def test_a_packaged_template_refers_to_its_stored_dataset(cli: Cli) -> None:
    path = str(ROOT / "producer" / "templates" / "basic_research.yaml")
    assert (await cli.json("templates", "apply", path))[0]["changed"] is True
    assert (await cli.json("templates", "apply", path))[0]["changed"] is False
    (row,) = await cli.factory.fetch("SELECT parameters FROM pipeline_templates WHERE name = 'basic_research'")
    (default,) = [p["default"] for p in row["parameters"] if p["name"] == "catalogue"]
    assert default["schema"] == "Catalogue"
    assert default["uri"].startswith(f"s3://{cli.factory.settings.s3_bucket}/datasets/")
    assert "dataset: catalogue" in await cli.run("templates", "export", "basic_research")


async def test_a_job_is_submitted_watched_and_delivered(cli: Cli, pipeline: Path, tmp_path: Path) -> None:
    await cli.run("templates", "apply", str(pipeline))
    await cli.run("clients", "add", "acme", "--tier", "premium")
    assert [(c["id"], c["tier"]) for c in await cli.json("clients", "list")] == [("acme", "premium")]
    cli.factory.coordinator()
    cli.factory.worker()
    log = f"log={cli.factory.effects}"

    watched = await cli.run("submit", "counted", "-c", "acme", "-p", log, "-p", "records=4", "--key", "k", "--watch")
    assert "find: completed" in watched
    assert "read: completed (4/4, 1 failed)" in watched
    assert watched.splitlines()[-2].split("s  ", 1)[1].startswith("completed after")
    accepted = await cli.json("submit", "counted", "-c", "acme", "-p", log, "-p", "records=4", "--key", "k")
    again = await cli.json("watch", accepted["execution_id"])
    assert (again["execution"]["status"], again["execution"]["tier"]) == ("completed", "premium")
    assert [step["step"] for step in again["steps"]] == ["find", "read", "tell"]
    assert again["steps"][1]["shards"] == {"total": 4, "done": 4, "failed": 1, "running": 0, "retries": 0}
    conflict = await cli.json("submit", "counted", "-c", "acme", "-p", log, "--key", "k", status=1)
    assert "conflict" in conflict["error"]

    listed = await cli.json("executions", "list", "--status", "completed", "--client", "acme", "--since", "1h")
    assert [row["id"] for row in listed] == [accepted["execution_id"]]
    shown = await cli.json("executions", "show", accepted["execution_id"])
    assert shown["job"]["parameters"]["records"] == 4
    assert [(s["shard"], s["error_class"]) for s in shown["failures"]["read"]] == [(2, "permanent")]
    assert "4/4, 1 failed" in await cli.run("executions", "show", accepted["execution_id"])

    folder = tmp_path / "out"
    files = await cli.json("deliverables", "get", accepted["execution_id"], "-o", str(folder))
    assert files == {"json": str(folder / "tell.json")}
    assert json.loads((folder / "tell.json").read_text())
    await cli.run("deliverables", "get", accepted["execution_id"], "-o", str(folder))
    (folder / "tell.json").write_text("mine")
    said = await cli.run("deliverables", "get", accepted["execution_id"], "-o", str(folder), status=1)
    assert "holds something else" in said
    assert (folder / "tell.json").read_text() == "mine"
    missing = await cli.run("deliverables", "get", accepted["execution_id"], "--format", "pdf", status=1)
    assert "it has: json" in missing


async def test_parameters_are_read_by_their_types_before_anything_is_published(cli: Cli, pipeline: Path) -> None:
    await cli.run("templates", "apply", str(pipeline))
    await cli.factory.client()
    parameters = pipeline.with_name("job.yaml")
    parameters.write_text(f"log: {cli.factory.effects}\nrecords: 2\n")
    submit = ("submit", "counted", "-c", "acme", "--params-file", str(parameters))
    assert "'many'; give a whole number" in await cli.run(*submit, "-p", "records=many", status=1)
    cli.factory.coordinator()
    refused = await cli.run(*submit, "-p", "records=10", status=1)
    assert refused == "factory: invalid_parameters: parameter 'records' is 10; give at most 9\n"
    accepted = await cli.json(*submit, "-p", "seconds=1")
    (row,) = await cli.factory.fetch("SELECT id, parameters FROM executions")
    assert str(row["id"]) == accepted["execution_id"]
    assert row["parameters"] == {"log": str(cli.factory.effects), "records": 2, "seconds": 1.0}


async def test_an_execution_is_cancelled_for_its_client(cli: Cli, pipeline: Path) -> None:
    await cli.run("templates", "apply", str(pipeline))
    await cli.factory.client(tier=Tier.STANDARD)
    cli.factory.coordinator()
    cli.factory.worker()
    waiting = cli.start(
        "submit", "counted", "-c", "acme", "-p", f"log={cli.factory.effects}", "-p", "seconds=100", "--wait"
    )

    async def running() -> Any:
        rows = await cli.factory.fetch("SELECT execution_id FROM step_executions WHERE status = 'running'")
        return rows and str(rows[0]["execution_id"])

    execution = await eventually(running, "the first step runs")
    cancelled = await cli.json("executions", "cancel", execution, "--note", "not needed")
    assert (cancelled["status"], cancelled["explanation"]) == ("cancelled", "not needed")
    out, _ = await asyncio.to_thread(waiting.communicate)
    assert (waiting.returncode, out) == (1, "cancelled\n")
    assert "is cancelled already" in await cli.run("executions", "cancel", execution, status=1)


async def test_up_runs_the_factory_until_down_on_servers_that_are_named(cli: Cli) -> None:
    doctor = await cli.json("doctor", status=1)
    remedies = {check["name"]: check["remedy"] for check in doctor["checks"] if not check["ok"]}
    assert set(remedies) == {"workers"}
    assert "factory worker" in remedies["workers"]
    names = {"supervisor", "coordinator", "worker", "worker-feeds"}
    try:
        up = await cli.json("up", "--concurrency", "3")
        assert {row["name"] for row in up["processes"]} == names
        status = await cli.json("status")
        assert all(row["ready"] for row in status["processes"])
        assert sorted(worker["capacity"] for worker in status["work"]["workers"]) == [3, 16]
        stored = await cli.factory.fetch("SELECT name FROM pipeline_templates")
        assert {row["name"] for row in stored} == {"basic_research", "rss_intelligence"}
        (client,) = await cli.factory.fetch("SELECT id, tier FROM clients")
        assert tuple(client) == ("demo", "enterprise")
        assert (await cli.json("doctor"))["ok"] is True
        assert (await cli.json("up"))["started"] is False
        assert "runs already" in await cli.run("up", "--foreground", status=1)
        refused = await cli.run("demo", status=1)
        assert "FACTORY_FETCH_ALLOW" in refused
        assert "factory down" in refused
    finally:
        stopped = (await cli.json("down"))["stopped"]
    assert set(stopped) == names
    assert processes.left(cli.home) == []


async def test_up_in_the_foreground_ends_in_order(cli: Cli) -> None:
    process = cli.start("up", "--foreground")

    async def ready() -> bool:
        faults = await installation.health(cli.home)
        return bool(faults) and not any(faults.values())

    try:
        await eventually(ready, "the factory is up")
        process.send_signal(signal.SIGINT)
        await asyncio.to_thread(process.wait, PATIENCE)
    finally:
        await cli.run("down")
        await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    assert processes.left(cli.home) == []


async def test_migrate_changes_nothing_the_second_time(cli: Cli) -> None:
    done = (await cli.json("migrate"))["done"]
    assert f"database at version {revision.needed()} (unchanged)" in done
    worker = cli.start("worker", "no_such_stage")
    out, err = await asyncio.to_thread(worker.communicate)
    assert (worker.returncode, out) == (1, "")
    assert "stage 'no_such_stage' is not installed" in err
