"""The examples as their readers use them: a plain publisher, and a stage that another package brings."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.factories import Factory
from tests.launcher import ROOT

EXAMPLES = ROOT / "examples"
PUBLISHER = EXAMPLES / "publish.py"
TEXT = "To be, or not to be: that is the question"


async def run(*command: str, environment: Mapping[str, str], folder: Path) -> str:
    """What a program prints that ends well."""
    done = await asyncio.to_thread(
        subprocess.run, command, env=dict(environment), cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def read(path: Path) -> dict[str, object]:
    """A file of JSON."""
    found: dict[str, object] = json.loads(path.read_text())
    return found


def answers(printed: str) -> dict[str, dict[str, object]]:
    """The answers that the publisher printed, by their type."""
    parts = re.findall(r"^(\w+) (\{.*?^\})$", printed, re.DOTALL | re.MULTILINE)
    return {kind: json.loads(body) for kind, body in parts}


TOPIC = {"name": "topic", "type": "string", "required": True}


async def test_a_plain_publisher_prints_acceptance_and_result(factory: Factory, tmp_path: Path) -> None:
    await factory.client()
    await factory.template("plain", [{"name": "only", "deliver": ["json"]}], parameters=[TOPIC])
    factory.coordinator()
    factory.worker()
    program = [sys.executable, "-I", str(PUBLISHER), factory.settings.amqp_url, "acme"]
    # Isolated mode: neither the project nor anything that the environment names can be imported.
    printed = await run(*program, "plain", "tin", environment={}, folder=tmp_path)
    found = answers(printed)
    assert list(found) == ["JobAccepted", "ExecutionFinished"]
    assert found["ExecutionFinished"]["status"] == "completed"
    assert found["ExecutionFinished"]["execution_id"] == found["JobAccepted"]["execution_id"]
    assert found["ExecutionFinished"]["deliverables"]

    refused = answers(await run(*program, "nothing", "tin", environment={}, folder=tmp_path))
    assert list(refused) == ["JobRejected"]
    assert refused["JobRejected"]["reason"] == "unknown_template"


async def test_a_stage_installed_from_elsewhere_runs_in_a_template_of_its_own(factory: Factory, tmp_path: Path) -> None:
    """As its README says: the factory is up already when the package comes."""
    package, installed = tmp_path / "word_count", tmp_path / "installed"
    shutil.copytree(EXAMPLES / "word_count", package)
    installed.mkdir()
    path = f"{factory.environment['PYTHONPATH']}{os.pathsep}{installed}"
    environment = {**factory.environment, "PYTHONPATH": path}
    factory.coordinator(PYTHONPATH=path)
    await factory.client()

    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index"]
    quiet = ["--disable-pip-version-check", "--target", str(installed)]
    await run(*pip, *quiet, str(package), environment=factory.environment, folder=tmp_path)
    factory_command = [sys.executable, "-m", "producer.cli"]
    template = str(package / "template.yaml")
    said = await run(*factory_command, "templates", "apply", template, environment=environment, folder=tmp_path)
    assert said == "word_count: applied as version 1\n"
    factory.worker("word_count", PYTHONPATH=path)

    submit = [*factory_command, "submit", "word_count", "-c", "acme", "-p", f"topic={TEXT}", "-p", "top=2"]
    watched = json.loads(await run(*submit, "--wait", "--json", environment=environment, folder=tmp_path))
    assert watched["execution"]["status"] == "completed"
    get = [*factory_command, "deliverables", "get", watched["execution"]["id"], "-o", str(tmp_path / "out"), "--json"]
    files = json.loads(await run(*get, environment=environment, folder=tmp_path))
    counts = read(Path(files["json"]))
    assert counts["words"] == 10
    assert counts["records"] == [{"word": "to", "times": 2}, {"word": "be", "times": 2}]


def test_the_stage_fits_on_thirty_lines() -> None:
    assert len((EXAMPLES / "word_count" / "word_count.py").read_text().splitlines()) <= 30
