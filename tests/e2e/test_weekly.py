"""The same report a week later: what is new is told as new, what was rewritten as rewritten, and the rest as known."""

import asyncio
import dataclasses
import json
import shutil
import sys
from asyncio import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from contracts import reports
from infra import settings
from infra.local import plan
from producer import collection, demonstration, installation, watching
from tests.factories import Factory, free_port

NEW = "Why lithium iron phosphate is the recycler's headache"
EDITED = "Black mass prices fall for the third month as new shredders come online"


async def look(looks: AsyncIterator[watching.Progress]) -> watching.Progress:
    """The last look at an execution."""
    return [progress async for progress in looks][-1]


def week(folder: Path, number: int) -> collection.Collection:
    """The sample feeds: in the first week without one entry, in the second with another entry rewritten."""
    samples = collection.samples()
    shutil.copytree(samples.folder, folder)
    feed = folder / "cellcycle-weekly.xml"
    text = feed.read_text("utf-8")
    if number == 1:
        start, end = text.rindex("<item>", 0, text.index(NEW)), text.index("</item>", text.index(NEW))
        text = text[:start] + text[end + len("</item>") :]
    else:
        assert "down from 70 percent in February" in text
        text = text.replace("down from 70 percent in February", "down from 71 percent in February")
    feed.write_text(text, "utf-8")
    return dataclasses.replace(samples, folder=folder)


def stories(report: reports.Report) -> dict[str, reports.Story]:
    return {story.id: story for theme in report.themes for story in theme.stories}


@pytest.mark.timeout(300)
async def test_a_week_later_only_what_is_new_is_new(factory: Factory) -> None:
    home, port = factory.folder / "home", free_port()
    around = settings.Surroundings(home, {**factory.environment, "FACTORY_HOME": str(home)})
    await asyncio.to_thread(installation.start, around, specs(port))
    try:
        first, _ = await run(around, week(factory.folder / "week1", 1), 1)
        second, execution = await run(around, week(factory.folder / "week2", 2), 2)
        choices = json.loads(await asked(around, "articles", str(execution), "--json"))
        by_words = await asked(around, "articles", str(execution), "black mass prices")
        refused = await asked(around, "articles", str(execution), "--decision", "boring", fails=True)
    finally:
        await asyncio.to_thread(installation.stop, home)
    explained(second, choices)
    assert EDITED.split(" for ")[0] in " ".join(by_words.split())
    assert "no article is 'boring'; there are chosen" in refused
    assert first.since is None
    assert second.since is not None
    assert second.since.told_at == first.created
    by_id = stories(second)
    new = {by_id[identity].title for identity in second.since.new}
    assert NEW in new
    assert new.isdisjoint(citation.title for citation in first.evidence)
    assert [by_id[identity].title for identity in second.since.updated] == [EDITED]
    assert [citation.title for citation in second.evidence if citation.revised] == [EDITED]
    assert set(second.since.known) == stories(first).keys() & by_id.keys() - set(second.since.updated)
    assert all(trend.before for trend in second.trends.categories)
    used = {source.url: source.used for source in first.sources}
    assert any(used.values())


def explained(report: reports.Report, choices: list[dict[str, str]]) -> None:
    """Every article of the report is there with why it was chosen, and every other with why it was not."""
    chosen = {choice["id"]: choice for choice in choices if choice["decision"] == "chosen"}
    assert chosen.keys() == {citation.article_id for citation in report.evidence}
    assert all(choice["why"].startswith("number ") for choice in chosen.values())
    others = {choice["id"]: choice["decision"] for choice in choices if choice["id"] not in chosen}
    assert others == {item.id: item.reason for item in report.left_out}


async def asked(around: settings.Surroundings, *arguments: str, fails: bool = False) -> str:
    """What a command prints, on standard error if it is to fail."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "producer.cli", *arguments,
        env={**around.environ, "COLUMNS": "200"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    output, error = await process.communicate()
    assert (process.returncode != 0) is fails, error
    return (error if fails else output).decode()


def specs(port: int) -> list[plan.ProcessSpec]:
    return installation.process_specs(fetch_allow={f"127.0.0.1:{port}"})


async def run(around: settings.Surroundings, feeds: collection.Collection, number: int) -> tuple[reports.Report, UUID]:
    request = demonstration.Request("battery recycling", feeds, out=around.home.parent / f"report{number}")
    outcome = await demonstration.run(around, request, look, lambda said: None)
    assert outcome.status == "completed"
    return reports.Report.model_validate_json(outcome.report["json"].read_bytes()), outcome.execution_id
