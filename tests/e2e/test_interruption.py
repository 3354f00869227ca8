"""The intelligence pipeline, undisturbed and with its processes killed in the middle, comes to the same report."""

import asyncio
import dataclasses
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from contracts import reports
from contracts.states import ExecutionStatus
from infra import settings
from infra.local import control, plan
from producer import collection, demonstration, installation, watching
from tests import factories

CORPUS = Path(__file__).parents[3] / "shared" / "data" / "feeds"
SOME = 60
"""How many feeds of the corpus are read; all of them take minutes."""

FETCHER, COORDINATOR = "worker-feeds", "coordinator"


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of the pipeline: what the demonstration says of it, and its report."""

    outcome: demonstration.Outcome
    report: reports.Report
    restarts: dict[str, int]

    def citations(self) -> dict[int, str]:
        """Article ids by the number under which the report cites them."""
        return {citation.number: citation.article_id for citation in self.report.evidence}

    def articles(self) -> list[str]:
        """The ids of all articles that were judged, used or not."""
        return [*self.citations().values(), *(item.id for item in self.report.left_out)]


def some_feeds() -> tuple[collection.Collection, str]:
    """Feeds of the corpus where it stands beside the checkout, else the samples; and a topic that they know of."""
    if not CORPUS.is_dir():
        return collection.samples(), "battery recycling"
    corpus = collection.of_folder(CORPUS)
    every = max(1, len(corpus.feeds) // SOME)
    return dataclasses.replace(corpus, feeds=corpus.feeds[::every][:SOME]), "artificial intelligence"


async def run(
    factory: factories.Factory, feeds: collection.Collection, topic: str, port: int, *, interrupted: bool
) -> Run:
    """Reads all the feeds at this port of loopback in a factory under supervision."""
    home = factory.folder / "home"
    around = settings.Surroundings(home, {**factory.environment, "FACTORY_HOME": str(home)})
    request = demonstration.Request(topic, feeds, everything=True, out=factory.folder / "report")
    await asyncio.to_thread(installation.start, around, specs(port))
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(demonstration.run(around, request, look, lambda said: None))
            if interrupted:
                group.create_task(interrupt(factory, home))
        restarts = {row.name: row.restarts for row in control.status(home)}
    finally:
        await asyncio.to_thread(installation.stop, home)
    outcome = running.result()
    return Run(outcome, reports.Report.model_validate_json(outcome.report["json"].read_bytes()), restarts)


def specs(port: int) -> list[plan.ProcessSpec]:
    """The processes of a factory, of which the one that fetches feeds takes four at a time, so that it has a middle."""
    found = installation.process_specs(fetch_allow={f"127.0.0.1:{port}"})
    few = ("--concurrency", "4")
    return [dataclasses.replace(spec, argv=spec.argv + few) if spec.name == FETCHER else spec for spec in found]


async def look(looks: AsyncIterator[watching.Progress]) -> watching.Progress:
    """The last look at an execution."""
    return [progress async for progress in looks][-1]


async def interrupt(factory: factories.Factory, home: Path) -> None:
    """Kills the only worker that fetches, and the coordinator, once a third of the feeds was read."""
    query = (
        "SELECT count(*) FILTER (WHERE status = 'completed') AS done, count(*) AS every FROM step_executions "
        "WHERE step = 'fetch_feeds' AND shard > 0"
    )

    async def third() -> bool:
        (row,) = await factory.fetch(query)
        return bool(row["every"] and row["done"] * 3 >= row["every"])

    await factories.eventually(third, "a third of the feeds was read")
    pids = {row.name: row.pid or 0 for row in control.status(home)}
    parsers = psutil.Process(pids[FETCHER]).children(recursive=True)
    assert parsers
    for name in (FETCHER, COORDINATOR):
        os.kill(pids[name], signal.SIGKILL)
    (row,) = await factory.fetch(query)
    assert row["done"] < row["every"]
    _, orphans = await asyncio.to_thread(psutil.wait_procs, parsers, factories.PATIENCE)
    assert orphans == []


@pytest.mark.timeout(300)
async def test_killed_processes_change_nothing_in_the_report(stack: settings.Settings, tmp_path: Path) -> None:
    feeds, topic = some_feeds()
    port = factories.free_port()
    runs = []
    for name, interrupted in (("undisturbed", False), ("interrupted", True)):
        folder = tmp_path / name
        folder.mkdir()
        async with factories.make(stack, folder) as factory:
            runs.append(await run(factory, feeds, topic, port, interrupted=interrupted))
    undisturbed, interrupted_run = runs
    assert undisturbed.restarts[FETCHER] == undisturbed.restarts[COORDINATOR] == 0
    assert interrupted_run.restarts[FETCHER] == interrupted_run.restarts[COORDINATOR] == 1
    same(undisturbed, interrupted_run, len(feeds.feeds))


def same(undisturbed: Run, interrupted: Run, feeds: int) -> None:
    """Both runs are complete, and all that they say is equal but for the time."""
    for found in (undisturbed, interrupted):
        assert found.outcome.status is ExecutionStatus.COMPLETED
        assert len(found.outcome.feeds) == feeds
        assert len(found.articles()) == len(set(found.articles())) == found.outcome.articles > 0
        assert found.citations()
    assert interrupted.outcome.feeds == undisturbed.outcome.feeds
    assert interrupted.citations() == undisturbed.citations()
    assert set(interrupted.articles()) == set(undisturbed.articles())
    assert interrupted.report == undisturbed.report.model_copy(update={"created": interrupted.report.created})
