"""The live view and the figures, of real executions on real servers."""

import asyncio
import contextlib
import dataclasses
import os
import re
import select
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from contracts.tiers import Tier
from infra.settings import Settings
from producer import overview
from producer.cli.opened import Asked, Explained, Opened
from producer.cli.screens import Top
from producer.cli.section import Section
from tests import proxy
from tests.e2e.test_cli import Cli
from tests.factories import PATIENCE, Factory, eventually
from tests.launcher import ROOT

LOGGED = "error when creating transport"
EVIL = "[red]\x1b[2Jno"
SLOW: list[dict[str, Any]] = [
    {"name": "first", "parameters": {"seconds": "60", "records": "2"}},
    {"name": "second", "depends_on": ["first"]},
]
QUICK: list[dict[str, Any]] = [
    {"name": "find", "parameters": {"records": "3"}},
    {
        "name": "read",
        "depends_on": ["find"],
        "fan_out": {"over": ["find"], "field": "record", "join": {"policy": "any"}},
        "retry": {"attempts": 1},
        "parameters": {"fail": "'permanent'", "fail_shards": "[2]"},
    },
    {
        "name": "tell",
        "depends_on": ["read"],
        "parameters": {"fail": "'transient'", "fail_below_attempt": "2"},
        "retry": {"attempts": 3, "base": 0.2},
    },
]


pytestmark = pytest.mark.timeout(300)


class Screen:
    """What somebody who watches sees and types."""

    def __init__(self, app: Top, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    def text(self, name: str) -> str:
        """What stands in one place of the open screen."""
        return "\n".join(str(place.content) for place in self.app.screen.query(f"#{name}").results(Static))

    def rows(self, name: str) -> list[list[str]]:
        """The rows of a pane."""
        table = self.app.screen_stack[0].query_one(f"#{name}", Section).table
        return [[str(cell) for cell in table.get_row_at(number)] for number in range(table.row_count)]

    async def until(self, place: str, words: str) -> None:
        """Waits until a place says these words."""

        async def said() -> bool:
            return words in self.text(place)

        await eventually(said, f"'{words}' in #{place}")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)


@contextlib.asynccontextmanager
async def watched(settings: Settings, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Screen]:
    """The live view of a factory on a terminal of this size."""
    async with overview.source(settings) as source:
        app = Top(settings, source, every=0.2)
        async with app.run_test(size=size) as pilot:
            yield Screen(app, pilot)


async def slow(factory: Factory, number: int = 1) -> list[uuid.UUID]:
    """Executions whose first step takes a minute, of a client whose worker tells hostile notes."""
    await factory.client(tier=Tier.PREMIUM)
    await factory.template("slow", SLOW)
    async with factory.connect() as client:
        for _ in range(number):
            await client.submit("slow")

        async def running() -> list[uuid.UUID] | None:
            rows = await factory.fetch("SELECT execution_id AS id FROM step_executions WHERE status = 'running'")
            return [row["id"] for row in rows] if len(rows) == number else None

        found: list[uuid.UUID] = await eventually(running, "first steps run")
        return found


async def status(factory: Factory, execution: uuid.UUID, wanted: str) -> None:
    async def reached() -> bool:
        (row,) = await factory.fetch("SELECT status FROM executions WHERE id = $1", execution)
        return bool(row["status"] == wanted)

    await eventually(reached, f"{execution} is {wanted}")


async def test_an_execution_is_watched_paused_opened_and_cancelled_by_keys(factory: Factory) -> None:
    factory.coordinator()
    factory.worker()
    (execution,) = await slow(factory)
    await factory.fetch("UPDATE step_executions SET note = $1 WHERE status = 'running'", EVIL)
    async with watched(factory.settings) as screen:
        await screen.until("head", "OK")
        (row,) = screen.rows("executions")
        assert row[1:5] == ["acme", "slow", "running", "0/2"]
        assert row[5].startswith("first")

        await screen.press("p")
        await screen.until("said", f"execution {execution} is paused")
        await status(factory, execution, "paused")
        await eventually(lambda: _is(screen, "executions", 0, 3, "paused (operator)"), "the pause is seen")
        await screen.press("p")
        await screen.until("said", f"execution {execution} is queued")
        await status(factory, execution, "running")

        await screen.press("enter")
        await eventually(lambda: _open(screen, Opened), "it is open")
        await screen.until("drawing", "second")
        assert "█" in screen.text("drawing")
        assert "after first" in screen.text("drawing")
        await screen.press("c")
        await eventually(lambda: _open(screen, Asked), "it is asked")
        await screen.press("n")
        await eventually(lambda: _open(screen, Opened), "the question is gone")
        await screen.until("said", "nothing was cancelled")
        await screen.press("c", "y")
        await screen.until("said", f"execution {execution} is cancelled")
        await status(factory, execution, "cancelled")
        await screen.press("c", "y")
        await screen.until("said", f"not done: execution {execution} is cancelled already")
        await screen.press("escape")
        await eventually(lambda: _rows(screen, "executions", 0), "nothing runs any more")


async def test_nothing_is_selected_when_what_was_selected_is_gone(factory: Factory) -> None:
    factory.coordinator()
    factory.worker()
    await slow(factory, 2)
    async with watched(factory.settings) as screen:
        await eventually(lambda: _rows(screen, "executions", 2), "both are listed")
        await screen.press("down", "up", "c")
        await eventually(lambda: _open(screen, Asked), "it is asked")
        assert re.search(r"Cancel slow for acme, \d+s\? .* execution [0-9a-f-]{36}\.", screen.text("question"))
        await screen.press("y")
        await screen.until("said", "is cancelled")
        await eventually(lambda: _rows(screen, "executions", 1), "it is listed no more")
        for key in ("p", "c", "o", "enter"):
            screen.app.say("")
            await screen.press(key)
            await screen.until("said", "slow for acme, ")
            assert screen.text("said").endswith(" is over or not shown any more; choose again")
        assert await factory.statuses() == {"cancelled": 1, "running": 1}
        await screen.press("down", "p")
        await screen.until("said", "is paused")
        assert await factory.statuses() == {"cancelled": 1, "paused": 1}

        await screen.press("slash", *"nothing", "enter", "p")
        await screen.until("said", "choose again")
        await screen.press("escape", "p")
        await screen.until("said", " is queued")


async def test_a_result_is_there_when_the_question_above_it_is_left(factory: Factory) -> None:
    factory.coordinator()
    factory.worker()
    (execution,) = await slow(factory)
    async with watched(factory.settings) as screen:
        await eventually(lambda: _rows(screen, "executions", 1), "it is listed")
        await screen.press("p", "question_mark")
        await eventually(lambda: _open(screen, Explained), "keys are explained")
        assert max(len(line) for line in screen.text("help").splitlines()) <= 76
        await status(factory, execution, "paused")
        said = screen.app.screen_stack[0].query_one("#said", Static)

        async def told() -> bool:
            return f"execution {execution} is paused" in str(said.content)

        await eventually(told, "the result is told below")


async def _is(screen: Screen, pane: str, row: int, column: int, words: str) -> bool:
    rows = screen.rows(pane)
    return len(rows) > row and rows[row][column] == words


async def _rows(screen: Screen, pane: str, number: int) -> bool:
    return len(screen.rows(pane)) == number


async def _open(screen: Screen, kind: type[Any]) -> bool:
    return isinstance(screen.app.screen, kind)


async def test_a_stage_is_paused_and_panes_are_walked_by_keys(factory: Factory) -> None:
    factory.coordinator()
    await factory.client()
    async with watched(factory.settings) as screen:
        await screen.until("head", "executions")
        await screen.press("tab")
        names = [row[0] for row in screen.rows("stages")]
        assert names[-2:] == ["jobs", "events"]
        await screen.press(*["down"] * names.index("effect"), "p")
        await screen.until("said", "stage effect is paused")
        (pause,) = await factory.fetch("SELECT kind, name, note FROM pauses")
        assert tuple(pause) == ("stage", "effect", "from factory top")
        await screen.until("head", "stage effect is paused by")
        await screen.press("p")
        await screen.until("said", "stage effect goes on")
        assert await factory.fetch("SELECT 1 FROM pauses") == []
        await screen.press(*["down"] * len(names), "p")
        await screen.until("said", "events is no stage that could be paused")
        await screen.press("d")
        assert screen.app.focused is screen.app.query_one("#letters", Section).table
        await screen.press("c")
        await screen.until("said", "no execution is selected")
        await screen.press("question_mark")
        await eventually(lambda: _open(screen, Explained), "keys are explained")
        await screen.press("q", "shift+tab", "shift+tab")
        await screen.press("slash", *"paid")
        assert [row[0] for row in screen.rows("stages")] == ["paid_effect"]
        await screen.press("enter")
        assert screen.app.focused is screen.app.query_one("#stages", Section).table
        await screen.press("escape")
        assert [row[0] for row in screen.rows("stages")] == names
        await screen.press("q")
    assert screen.app.return_code == 0


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (120, 50), (200, 60)])
async def test_it_fits_terminals_of_any_size_and_obeys_no_text(factory: Factory, size: tuple[int, int]) -> None:
    factory.coordinator()
    factory.worker()
    (execution,) = await slow(factory)
    await factory.fetch("UPDATE step_executions SET note = $1, fraction = 0.5 WHERE status = 'running'", EVIL)
    async with watched(factory.settings, size) as screen:
        await eventually(lambda: _rows(screen, "executions", 1), "it is listed")
        shown = screen.rows("executions")[0][5]
        assert shown.startswith("first 50%")
        assert "\x1b" not in shown
        assert "[red]\\x1b[2Jno" in shown or shown.endswith("…")
        visible = [section.table.display for section in screen.app.query(Section)]
        assert sum(visible) == (1 if size[1] < 44 else 4)
        await screen.pilot.resize_terminal(80, 24)
        await screen.press("o")
        await screen.until("drawing", str(execution))


async def test_servers_go_away_and_come_back(factory: Factory) -> None:
    factory.coordinator()
    factory.worker()
    await slow(factory)
    async with (
        _proxied(factory.settings.database_url) as (database_url, tables),
        _proxied(factory.settings.amqp_url) as (amqp_url, queues),
        watched(dataclasses.replace(factory.settings, database_url=database_url, amqp_url=amqp_url)) as screen,
    ):
        await screen.until("head", "OK")
        for network, server in ((tables, "database"), (queues, "broker")):
            network.refuse()
            await screen.until("head", f"! the {server} does not answer")
            assert "WRONG" in screen.text("head")
            assert [row[2] for row in screen.rows("executions")] == ["slow"]
            assert "effect" in [row[0] for row in screen.rows("stages")]
            await screen.press("p")
            await screen.until("said", "not done: ")
            network.mend()
            await screen.until("head", "OK")


@contextlib.asynccontextmanager
async def _proxied(url: str) -> AsyncIterator[tuple[str, proxy.Proxy]]:
    """The address of a server behind a network that can fail."""
    parts = urlsplit(url)
    async with proxy.to(parts.hostname or "", parts.port or 0) as network:
        place = parts.netloc.rpartition("@")[0] + f"@127.0.0.1:{network.port}"
        yield parts._replace(netloc=place).geturl(), network


async def test_a_management_api_that_hangs_takes_nothing_else_away(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "HELD_SECONDS", 0.0)
    async with (
        _proxied(factory.settings.amqp_admin_url) as (admin_url, network),
        overview.source(dataclasses.replace(factory.settings, amqp_admin_url=admin_url)) as source,
    ):

        async def known() -> bool:
            queues = (await source.look()).queues
            return queues is not None and all(row.unacknowledged is not None for row in queues)

        await eventually(known, "the management API has told of all queues")
        network.hole()
        found = await source.look()
        assert found.away == {}
        assert found.queues is not None
        assert all(row.unacknowledged == 0 for row in found.queues), "what was known stays"


async def test_servers_that_hang_are_waited_for_at_the_same_time(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "PATIENCE", 3.0)
    async with (
        _proxied(factory.settings.database_url) as (database_url, tables),
        _proxied(factory.settings.amqp_url) as (amqp_url, queues),
        overview.source(dataclasses.replace(factory.settings, database_url=database_url, amqp_url=amqp_url)) as source,
    ):
        assert (await source.look()).away == {}
        tables.hole()
        queues.hole()
        began = time.monotonic()
        assert set((await source.look()).away) == {"database", "broker"}
        assert time.monotonic() - began < 2 * overview.PATIENCE, "neither waits for the other, nor for its own end"
        tables.mend()
        queues.mend()

        async def back() -> bool:
            return not (await source.look()).away

        await eventually(back, "both are there again")


async def test_what_is_wrong_is_said_first(factory: Factory) -> None:
    await factory.client()
    await factory.template("slow", SLOW)
    async with watched(factory.settings) as screen:
        await screen.until("head", "! no coordinator works: jobs and events wait for one")
        coordinator = factory.coordinator()
        await screen.until("head", "OK")
        async with factory.connect() as client:
            await client.submit("slow")
            await screen.until("head", "! no worker takes effect, for ")
        coordinator.kill()
        await screen.until("head", "2 troubles")


async def test_one_look_goes_to_a_pipe_and_figures_are_told(factory: Factory, tmp_path: Path) -> None:
    cli = Cli(factory, tmp_path / "home")
    factory.coordinator()
    factory.worker()
    await factory.client("acme", Tier.PREMIUM)
    await factory.template("quick", QUICK)
    async with factory.connect() as client:
        await client.submit("quick")
        await factory.all_over(1)
    (row,) = await factory.fetch("SELECT id FROM executions")

    printed = await cli.run("top")
    assert "last minute  1 executions ended   5 steps ended, !1 failed" in printed
    assert "\x1b" not in printed
    assert await cli.run("top", "--once") != ""
    told = await cli.json("top")
    assert (told["healthy"], told["troubles"]) == (True, [])
    assert told["snapshot"]["work"]["workers"][0]["stages"] == ["effect"]

    shown = await cli.run("executions", "show", str(row["id"]))
    assert "effect, after find, waited" in shown
    assert "slowest #" in shown
    assert "▒" in shown
    steps = (await cli.json("executions", "show", str(row["id"])))["waterfall"]["rows"]
    assert [(step["step"], step["level"], step["attempt"], step["critical"]) for step in steps] == [
        ("find", 0, 1, True),
        ("read", 1, 1, True),
        ("tell", 2, 2, True),
    ]
    assert {span["kind"] for span in steps[2]["spans"]} >= {"earlier", "retry", "running"}
    assert len(steps[1]["fan"]["slowest"]) == 3

    quick, everything = await cli.json("stats", "executions", "--since", "1h", "--client", "acme")
    assert (quick["template"], quick["success_rate"], everything["template"]) == ("quick", 1.0, None)
    (stage,) = await cli.json("stats", "stages", "--tier", "premium")
    assert (stage["stage"], stage["attempts"], stage["completed"], stage["failed"], stage["retries"]) == (
        *("effect", 6, 4, 1, 1),
    )
    assert stage["failures"] == {"permanent": 1, "transient": 1}
    (worker,) = await cli.json("stats", "workers")
    assert (worker["completed"], worker["failed"], worker["lost"]) == (4, 2, 0)
    assert await cli.json("stats", "costs") == []
    assert "no paid call in the last 7d" in await cli.run("stats", "costs")
    for name, words in (("executions", "quick"), ("stages", "permanent 1, transient 1"), ("workers", "alive")):
        assert words in await cli.run("stats", name)


async def test_without_servers_one_look_says_so(factory: Factory, tmp_path: Path) -> None:
    cli = Cli(factory, tmp_path / "home")
    away = {"FACTORY_DATABASE_URL": "postgresql://u:p@127.0.0.1:9/x", "FACTORY_AMQP_URL": "amqp://u:p@127.0.0.1:9/"}
    cli.environment.update(away)
    printed = await cli.run("top", "--once")
    assert "the database does not answer" in printed
    assert "the broker does not answer" in printed
    told = await asyncio.wait_for(cli.json("top"), 60)
    assert (told["healthy"], set(told["snapshot"]["away"])) == (False, {"database", "broker"})


def test_what_is_logged_while_the_screen_is_drawn_goes_beside_it(tmp_path: Path) -> None:
    away = {
        "FACTORY_HOME": str(tmp_path),
        "FACTORY_AMQP_URL": "amqp://u:p@127.0.0.1:9/",
        **dict.fromkeys(("FACTORY_DATABASE_URL", "FACTORY_WORKER_DATABASE_URL"), "postgresql://u:p@127.0.0.1:9/x"),
        **{"FACTORY_S3_ENDPOINT": "http://127.0.0.1:9", "FACTORY_S3_ACCESS_KEY": "a", "FACTORY_S3_SECRET_KEY": "b"},
    }
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "producer.cli", "top"],
        env={**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **away},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        start_new_session=True,
    )
    os.close(theirs)
    shown, until = b"", time.monotonic() + PATIENCE
    log = tmp_path / "top.log"
    try:
        while not (log.exists() and LOGGED in log.read_text() and b"not answer" in shown):
            assert time.monotonic() < until
            if select.select([ours], [], [], 0.1)[0]:
                shown += os.read(ours, 65536)
        os.write(ours, b"q")
        with contextlib.suppress(OSError):  # which a terminal tells when nobody is there any more
            while more := os.read(ours, 65536):
                shown += more
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        os.close(ours)
    assert LOGGED.encode() not in shown
