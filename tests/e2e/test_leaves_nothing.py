"""After `factory down` nothing of the home folder runs, however its processes were started, named and related."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from producer import collection
from tests import factories


class Cli:
    """The command in an environment that names no server."""

    def __init__(self, home: Path, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FACTORY_")}
        self.environment = {**kept, "FACTORY_HOME": str(home), **environment}

    def run(self, *arguments: str) -> Any:
        """The document that a command prints."""
        done = subprocess.run(
            [sys.executable, "-m", "producer.cli", *arguments, "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, f"{arguments} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "home"
    yield folder
    Cli(folder).run("down")


def belonging(home: Path) -> dict[tuple[int, float], str]:
    """Every process that names the home folder in its environment, arguments, folder or open files, and its children.

    Found without the marks by which `down` finds them. The key is safe from ids that are used again.
    """
    found: dict[tuple[int, float], str] = {}
    for process in psutil.process_iter():
        if process.pid != os.getpid() and str(home) in traces(process):
            for related in (process, *children(process)):
                found[related.pid, related.create_time()] = related.name()
    return found


def traces(process: psutil.Process) -> str:
    try:
        opened = [file.path for file in process.open_files()]
        said = [process.cwd(), *process.cmdline(), *process.environ().values(), *opened]
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        # It has ended, or it is another user's, who was not asked to run anything.
        return ""
    return "\n".join(said)


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def runs(pid: int, created: float) -> bool:
    try:
        process = psutil.Process(pid)
        return process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.timeout(240)
def test_nothing_runs_after_down(home: Path) -> None:
    port = factories.free_port()
    cli = Cli(home, FACTORY_FETCH_ALLOW=f"127.0.0.1:{port}")
    cli.run("up")
    outcome = cli.run("demo")
    assert outcome["status"] == "completed"
    assert len(outcome["feeds"]) == len(collection.samples().feeds)
    while_up = belonging(home)
    names = set(while_up.values())
    # Workers keep children in which feeds are parsed; RabbitMQ and Postgres have children of their own.
    assert {"epmd", "erl_child_setup", "postgres", "rclone"} <= names
    assert any(name.startswith("beam") for name in names)
    workers = [row for row in cli.run("status")["processes"] if row["name"] == "worker-feeds"]
    assert psutil.Process(workers[0]["pid"]).children(recursive=True)
    ports = [
        number
        for file in home.glob("*/identity.json")
        for name, number in json.loads(file.read_text())["ports"].items()
        if name != "console"
    ]
    assert all(listening(number) for number in ports)

    stopped = cli.run("down")["stopped"]
    assert {"supervisor", "coordinator", "worker", "worker-feeds", "rabbitmq", "postgres", "s3"} <= set(stopped)
    assert [name for (pid, created), name in while_up.items() if runs(pid, created)] == []
    assert belonging(home) == {}
    assert not any(listening(number) for number in ports)
    assert cli.run("status")["processes"] == []
