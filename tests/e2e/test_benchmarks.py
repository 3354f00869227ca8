"""The benchmark command measures what it says, refuses what it does not know, and its page is that of its figures."""

import dataclasses
import subprocess
import sys

import pytest

from benchmarks import drive, instruments, report, results, throughput
from benchmarks.systems import ROOT, SYSTEMS
from infra.settings import Settings

OWN = ("factory", "floor", "floor-plain", "floor-lean")


@pytest.mark.parametrize("name", OWN)
async def test_a_system_runs_pipelines_and_tells_of_them(stack: Settings, name: str) -> None:
    load = throughput.Load(seconds=1.0, workers=1, window=20, warm=5, latency=True)
    run = await throughput.run(SYSTEMS[name], stack, load)
    assert run.steps_per_second > 0
    assert run.steps % drive.STEPS == 0
    assert len(run.latencies) > 1
    assert all(0 < seconds < throughput.START_SECONDS for seconds in run.latencies)
    spent = run.cpu_per_1000_steps()
    assert set(spent) == {"broker", "database", "coordinator", "workers"}
    assert spent["broker"] > 0
    assert spent["workers"] > 0


@pytest.mark.parametrize("variant", instruments.VARIANTS)
async def test_the_factory_runs_with_and_without_what_shows_it(stack: Settings, variant: str) -> None:
    system = dataclasses.replace(SYSTEMS["factory"], extra=instruments.VARIANTS[variant])
    run = await throughput.run(system, stack, throughput.Load(seconds=5.0, workers=1, window=20, warm=5))
    assert run.steps_per_second > 0


@pytest.mark.parametrize(
    ("option", "told"),
    [("--systems=floor,hatchet", "'hatchet' is not known"), ("--parts=speed", "'speed' is not known")],
)
def test_what_is_not_known_is_refused_by_name(option: str, told: str) -> None:
    command = [sys.executable, "-m", "benchmarks", option]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={"COLUMNS": "300"})
    assert done.returncode == 2
    assert told in done.stderr
    assert "factory" in done.stderr or "throughput" in done.stderr, "what could be given instead"


def test_the_page_is_that_of_the_figures() -> None:
    assert report.PAGE.read_text(encoding="utf-8") == report.page(results.load())


def test_the_figures_name_each_system_and_how_it_ran() -> None:
    found = results.load()
    for name, figures in found["systems"].items():
        assert all(figures["steps_per_second"]), f"{name} did something in each run"
        assert figures["pipelines_per_second"] > 0
        assert figures["durable"] is True
        assert figures["cpu_seconds_per_1000_steps"] > 0
        assert figures["peak_rss_mb"] > 0
    assert {"latency", "fairness", "growth"} <= set(found)
