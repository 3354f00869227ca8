"""The real pipeline over a folder of real feeds: the seconds of each stage, and what bounds them.

The folder is served on loopback, which is all that the workers may fetch from, and every feed of it is read. The
processes are those of ``factory up``: a coordinator, a worker that fetches, and one that does the rest. The template's
steps follow one another, so what a process spent between the ends of two steps was spent on the later one. This process
serves the feeds; its part of the CPU time is told as ``this measurement``.
"""

import asyncio
import bisect
import contextlib
import dataclasses
import datetime
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks import children, idle
from contracts import messages, registry
from contracts.tiers import Tier
from infra import documents, identifiers, objects
from infra.local import stack as servers
from infra.settings import Settings
from producer import client, collection, feedserver, installation, preparation, values
from tests import factories

FOLDER = "FACTORY_BENCH_FEEDS"
"""The variable that names the folder."""

TOPIC = "artificial intelligence"
TEMPLATE = "rss_intelligence"
LONGEST_SECONDS = 600.0
SAMPLE_SECONDS = 1.0
BUSY = 0.8
"""Of a core, or of all of them: what is busier than that bounds the stage."""

ALIVE = "SELECT count(*) FROM worker_instances"
STEPS = """
SELECT step, stage, shard, status, started_at, finished_at, summary,
       (metrics ->> 'run_seconds')::double precision AS run, (metrics ->> 'load_seconds')::double precision AS load,
       (metrics ->> 'seconds')::double precision AS whole
FROM step_executions WHERE execution_id = $1 AND finished_at IS NOT NULL ORDER BY finished_at, status = 'skipped', shard
"""

Figures = dict[str, Any]
Row = Mapping[str, Any]


@dataclasses.dataclass(slots=True)
class Record:
    """CPU seconds by part, sampled while the pipeline runs, and of how many processes the parse pool was made."""

    moments: list[float] = dataclasses.field(default_factory=list)
    spent: list[dict[str, float]] = dataclasses.field(default_factory=list)
    parsers: int = 0

    def between(self, began: float, ended: float) -> dict[str, float]:
        """What was spent between two moments, those between two samples taken in proportion."""
        first, last = self._at(began), self._at(ended)
        return {part: max(0.0, last[part] - first.get(part, 0.0)) for part in last}

    def _at(self, moment: float) -> dict[str, float]:
        after = min(max(1, bisect.bisect(self.moments, moment)), len(self.moments) - 1)
        earlier, later = self.moments[after - 1], self.moments[after]
        share = min(1.0, max(0.0, (moment - earlier) / (later - earlier)))
        low, high = self.spent[after - 1], self.spent[after]
        return {part: low.get(part, 0.0) + share * (high[part] - low.get(part, 0.0)) for part in high}


async def measure(stack: Settings, folder: Path | None = None) -> Figures:
    """Seconds of each stage over all feeds of a folder, of the one that FACTORY_BENCH_FEEDS names if none is given."""
    chosen = folder or Path(os.environ.get(FOLDER, "") or "/nonexistent")
    if not chosen.is_dir():
        return {"skipped": f"there is no folder of feeds; name one by {FOLDER}"}
    served = collection.of_folder(chosen)
    async with idle.corner(stack) as place, feedserver.serve(chosen) as address:
        await preparation.prepare(place.settings)
        wanted = commands()
        around = {**place.environment, installation.FETCH_ALLOW: address}
        with children.started(list(wanted.values()), around, place.log) as started:

            async def alive() -> bool:
                return bool(await place.pool.fetchval(ALIVE) == len(wanted) - 1)

            await factories.eventually(alive, "all workers are known")
            pids = {name: process.pid for name, process in zip(wanted, started, strict=True)}
            async with _recorded(place.settings.home, pids) as record:
                execution = await _run(place.settings, served, address)
        rows = [dict(row) for row in await place.pool.fetch(STEPS, execution.execution_id)]
        created = await place.pool.fetchval("SELECT started_at FROM executions WHERE id = $1", execution.execution_id)
    return _told(served, execution, created, rows, record)


def commands() -> dict[str, Sequence[str]]:
    """The processes of ``factory up``, by the names under which their cost is told."""
    process = (sys.executable, "-m", "consumers")
    rest = sorted({stage for stage in registry.specs() if stage not in (installation.FETCHER, "no_op")})
    return {
        "coordinator": (*process, "coordinator"),
        "fetcher": (
            *(*process, "worker", installation.FETCHER),
            *("--concurrency", str(installation.FETCHER_CONCURRENCY)),
        ),
        "worker": (*process, "worker", *rest),
    }


@contextlib.asynccontextmanager
async def _recorded(home: Path, pids: Mapping[str, int]) -> AsyncIterator[Record]:
    """A record that is kept while the context lasts."""
    record, spending = Record(), idle.Spending(home, pids)
    own, fetcher = psutil.Process(), psutil.Process(pids["fetcher"])

    def look() -> None:
        machine, mine = psutil.cpu_times(), own.cpu_times()
        spent = {"machine": sum(machine) - machine.idle - machine.iowait, "this measurement": mine.user + mine.system}
        record.moments.append(time.time())
        record.spent.append({**spending.total(), **spent})
        record.parsers = max(record.parsers, len(fetcher.children()))

    async def go_on() -> None:
        while True:
            await asyncio.to_thread(look)
            await asyncio.sleep(SAMPLE_SECONDS)

    await asyncio.to_thread(look)
    looking = asyncio.create_task(go_on())
    try:
        yield record
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await asyncio.to_thread(look)


async def _run(settings: Settings, served: collection.Collection, address: str) -> messages.ExecutionFinished:
    """One execution that reads every feed."""
    number = len(served.feeds)
    parameters: dict[str, messages.Json] = {
        "topic": TOPIC,
        "max_sources": number,
        "per_site": min(number, 50),
        "minimum_score": 0,
        "minimum_sources": 0,
    }
    task = messages.TaskKey(identifiers.new(), 1, "parameters", 0, 1)
    async with (
        objects.of(settings) as store,
        client.connect(settings.amqp_url, name="benchmark") as producer,
    ):
        today = datetime.datetime.now(datetime.UTC).date()
        place = documents.Place(installation.CLIENT, today, task)
        ref = await values.put(served.catalogue(address), place, store)
        parameters["catalogue"] = ref.model_dump(mode="json", exclude_none=True)
        job = messages.SubmitJob(
            submit_key=client.new_key(), client=installation.CLIENT, template=TEMPLATE, parameters=parameters
        )
        accepted = await producer.submit(job, tier=Tier.ENTERPRISE)
        return await producer.finished(accepted.execution_id, LONGEST_SECONDS)


def _told(
    served: collection.Collection,
    execution: messages.ExecutionFinished,
    began: datetime.datetime,
    rows: Sequence[Row],
    record: Record,
) -> Figures:
    stages: Figures = {}
    before = began.timestamp()
    for step in (row for row in rows if not row["shard"]):
        tasks = [row for row in rows if row["step"] == step["step"] and (row["shard"] or row["run"] is not None)]
        ended = step["finished_at"].timestamp()
        stages[step["step"]] = _stage(step, tasks, ended - before, record.between(before, ended))
        before = ended
    fetched = next(row for row in rows if row["step"] == "fetch_feeds" and not row["shard"])
    classified = next(row for row in rows if row["step"] == "classify_articles")
    return {
        "feeds": len(served.feeds),
        "bytes": sum((served.folder / feed.path).stat().st_size for feed in served.feeds),
        "read": fetched["summary"].get("completed"),
        "entries": fetched["summary"].get("entries"),
        "articles": classified["summary"].get("articles"),
        "status": str(execution.status),
        "seconds": round(execution.seconds, 2),
        "stages": stages,
        "parse_pool": {"processes": record.parsers, "cores": os.cpu_count()},
    }


def _stage(step: Row, tasks: Sequence[Row], seconds: float, spent: dict[str, float]) -> Figures:
    """One stage: its part of the time from start to end, what its tasks say they took, and what was spent meanwhile."""
    busy = spent.pop("machine") / max(seconds, 1e-3)
    return {
        "stage": step["stage"],
        "status": step["status"],
        "seconds": round(seconds, 3),
        "tasks": len(tasks),
        "task_seconds": {name: _sum(row[name] for row in tasks) for name in ("load", "run", "whole")},
        "cpu_seconds": {part: round(used, 2) for part, used in sorted(spent.items(), key=lambda item: -item[1])},
        "machine_cores_busy": round(busy, 2),
        "bound_by": _bound(seconds, spent, busy),
    }


def _sum(seconds: Iterable[float | None]) -> float:
    return round(sum(second or 0.0 for second in seconds), 3)


def _bound(seconds: float, spent: Mapping[str, float], busy: float) -> str:
    """What a stage waits for: one process that fills a core, or all cores, or neither."""
    if seconds < 2 * SAMPLE_SECONDS:
        return "too short to tell"
    part, most = max(spent.items(), key=lambda item: item[1])
    share = sum(spent.values()) / seconds
    if part != "parsing" and most > BUSY * seconds:
        return f"one core: {part} computes {most / seconds:.0%} of the time"
    if busy > BUSY * (os.cpu_count() or 1):
        return f"the cores: {share:.2f} of them by the factory, most of it {part} ({most / seconds:.2f})"
    return f"waiting: {share:.2f} cores busy, most of it {part} ({most / seconds:.2f})"


def main() -> None:
    """Measures on servers of its own and prints what was found; the argument is the folder of feeds."""
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as folder, servers.temporary(Path(folder) / "servers") as stack:
        sys.stdout.write(json.dumps(asyncio.run(measure(stack, given)), indent=1) + "\n")


if __name__ == "__main__":
    main()
