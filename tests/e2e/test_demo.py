"""`factory demo`: from a folder of feeds to a report, in a factory of its own that is gone afterwards."""

import asyncio
import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.local import processes
from producer import collection
from tests.factories import Factory
from tests.launcher import ROOT

SHARED_FEEDS = ROOT.parent / "shared" / "data" / "feeds"

DISAGREEMENTS = {
    # The body is a gzip file, which the index counts as unreadable; the fetcher unpacks it.
    "orenburg-news-gzip.xml": (0, 10),
}
"""Feeds of which the index says another number of entries than are read: file, by the index, as read."""


def demonstrate(factory: Factory, home: Path, *arguments: str) -> Any:
    """The document that the demonstration prints, on the servers of this test."""
    done = subprocess.run(
        [sys.executable, "-m", "producer.cli", "demo", "--json", *arguments],
        env={**factory.environment, "FACTORY_HOME": str(home)},
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert processes.left(home) == []
    return json.loads(done.stdout)


def written(shown: Any, form: str) -> str:
    """A file of the report."""
    return Path(shown["report"][form]).read_text()


def cited(report: Any) -> None:
    """Every citation of a report resolves to a piece of its evidence, and every piece has an address."""
    numbers = {citation["number"] for citation in report["evidence"]}
    assert numbers == set(range(1, len(numbers) + 1))
    used = [number for statement in report["executive_summary"] for number in statement["citations"]]
    used += [story["citation"] for theme in report["themes"] for story in theme["stories"]]
    used += [number for theme in report["themes"] for story in theme["stories"] for number in story["further"]]
    assert used
    assert set(used) <= numbers


async def test_the_sample_feeds_become_a_report(factory: Factory, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shown = await asyncio.to_thread(demonstrate, factory, home, "--topic", "battery recycling")
    assert shown["status"] == "completed"
    assert set(shown["feeds"]) == {feed.path for feed in collection.samples().feeds}
    read = {name: feed for name, feed in shown["feeds"].items() if feed["error"] is None}
    assert len(read) >= 5
    assert all(feed["entries"] > 0 for feed in read.values())
    assert shown["feeds"]["touchline-daily.xml"] == {"entries": None, "error": "not chosen for this topic"}
    assert 0 < shown["articles"] <= sum(feed["entries"] for feed in read.values())

    folder = home / "reports" / shown["execution_id"]
    assert {form: Path(path).parent for form, path in shown["report"].items()} == {
        "html": folder,
        "markdown": folder,
        "json": folder,
    }
    report = json.loads(written(shown, "json"))
    assert report["topic"] == "battery recycling"
    cited(report)
    assert re.search(r"<h1[^>]*>", written(shown, "html"))
    assert written(shown, "markdown").startswith("# ")
    rows = await factory.fetch("SELECT count(*)::int AS n FROM executions WHERE client_id = 'demo'")
    assert rows[0]["n"] == 1


@pytest.mark.timeout(400)
@pytest.mark.skipif(not SHARED_FEEDS.is_dir(), reason="the folder of real feeds is not on this machine")
async def test_every_feed_of_a_folder_is_read_or_says_why_not(factory: Factory, tmp_path: Path) -> None:
    topic = "artificial intelligence"
    shown = await asyncio.to_thread(
        demonstrate, factory, tmp_path / "home", "--feeds", str(SHARED_FEEDS), "--topic", topic
    )
    with (SHARED_FEEDS / "index.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    index = {row["filename"]: int(row["entries"]) for row in rows}
    found = {name: feed["entries"] for name, feed in shown["feeds"].items()}
    assert set(found) == set(index)
    assert {n: (index[n], found[n]) for n in index if index[n] != found[n]} == DISAGREEMENTS
    failed = {name for name, feed in shown["feeds"].items() if feed["error"]}
    assert failed <= {name for name, entries in index.items() if entries == 0}
    assert shown["status"] == "completed"

    report = json.loads(written(shown, "json"))
    assert len(report["failures"]) == len(failed)
    cited(report)
    assert shown["largest_message"] < 32 * 1024
    assert shown["bytes"]["broker"] <= 0.05 * shown["bytes"]["documents"]
    # Nothing is read from beyond loopback: the address of every article's feed is that of the demonstration's server.
    assert {re.sub(r":\d+/.*", "", source["url"]) for source in report["sources"]} == {"http://127.0.0.1"}
    assert len(written(shown, "html")) > 10_000
