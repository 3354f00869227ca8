"""Delays, deadlines and schedules as their users meet them, across the death of the coordinator."""

import datetime
import json
from typing import Any

import pytest

from contracts import messages
from tests.e2e.test_cli import Cli
from tests.factories import Factory, eventually
from tests.readiness import Coordinator

pytestmark = pytest.mark.timeout(300)


async def status_of(factory: Factory, key: str) -> str | None:
    rows = await factory.fetch("SELECT status FROM executions WHERE submit_key = $1", key)
    return rows[0]["status"] if rows else None


async def test_a_delayed_job_begins_at_its_time_also_after_the_coordinator_died(factory: Factory) -> None:
    await factory.client()
    await factory.template("plain", [{"name": "only"}])
    first = factory.coordinator()
    factory.worker()
    async with factory.connect() as client:
        later = await client.submit("plain", delay=3600)
        await client.answered(messages.JobAccepted)
        assert await status_of(factory, later) == "paused"
        first.kill()
        factory.coordinator()
        await client.submit("plain")
        await client.answered(messages.ExecutionFinished)
        assert await status_of(factory, later) == "paused", "what is not delayed goes first"
        assert len(factory.runs()) == 1
        await factory.fetch("UPDATE timers SET due_at = now() + interval '1 second' WHERE kind = 'delay' RETURNING 1")
        finished = await client.answered(messages.ExecutionFinished, 2)
    assert [message.status for message in finished] == ["completed", "completed"]
    assert len(factory.runs()) == 2


async def test_a_deadline_before_the_beginning_is_refused_with_the_remedy(factory: Factory) -> None:
    await factory.client()
    await factory.template("plain", [{"name": "only"}])
    factory.coordinator()
    async with factory.connect() as client:
        await client.submit("plain", delay=60, deadline=30)
        (rejected,) = await client.answered(messages.JobRejected)
    assert rejected.reason == "invalid_parameters"
    assert "field 'deadline' is 30 s" in rejected.explanation
    assert "make it more than field 'delay'" in rejected.explanation


async def test_at_its_deadline_an_execution_ends_with_what_it_has(factory: Factory) -> None:
    await factory.client()
    steps: list[dict[str, Any]] = [
        {"name": "quick", "deliver": ["json"]},
        {"name": "slow", "depends_on": ["quick"], "stage": "slow_effect", "parameters": {"seconds": "120"}},
    ]
    await factory.template("two", steps)
    factory.coordinator()
    factory.worker("effect", "slow_effect")
    async with factory.connect() as client:
        await client.submit("two", deadline=3600)

        async def slow() -> bool:
            return any(run[2] == "slow" for run in factory.runs())

        await eventually(slow, "the slow step has begun")
        await factory.fetch("UPDATE timers SET due_at = now() WHERE kind = 'deadline' RETURNING 1")
        (finished,) = await client.answered(messages.ExecutionFinished)
    assert finished.status in ("partial", "failed")
    assert "deadline" in finished.explanation
    assert await factory.fetch("SELECT 1 FROM timers") == []


async def test_a_schedule_runs_at_its_times_once_however_many_coordinators(factory: Factory) -> None:
    cli = Cli(factory, factory.folder / "home")
    await factory.client()
    await factory.template("plain", [{"name": "only"}], parameters=[{"name": "topic", "type": "string"}])
    added = await cli.json(
        *("schedules", "add", "often", "plain", "-c", "acme", "--cron", "*/5 * * * *", "--timezone", "Europe/Madrid"),
        *("-p", "topic=bees"),
    )
    assert datetime.datetime.fromisoformat(added["next_due"]) > datetime.datetime.now(datetime.UTC)
    for _ in range(2):
        await Coordinator(factory).ready()
    factory.worker()
    for number in (1, 2):
        await factory.fetch("UPDATE timers SET due_at = now() - interval '1 hour' WHERE kind = 'schedule' RETURNING 1")
        await factory.all_over(number)
    shown = await cli.json("schedules", "show", "often")
    assert (shown["last_problem"], shown["active"]) == ("", True)
    assert datetime.datetime.fromisoformat(shown["next_due"]) > datetime.datetime.now(datetime.UTC)
    rows = await factory.fetch("SELECT id, parameters FROM executions ORDER BY created_at")
    assert [row["parameters"] for row in rows] == [{"topic": "bees"}] * 2
    assert shown["last_execution"] == str(rows[-1]["id"])
    accepted = await cli.json("schedules", "run", "often")
    assert (await factory.all_over(3)) == {"completed": 3}
    assert accepted["template"] == "plain"
    assert (await cli.json("schedules", "pause", "often"))["next_due"] is None
    assert "paused" in await cli.run("schedules", "list")
    assert (await cli.json("schedules", "resume", "often"))["next_due"] is not None
    await cli.run("schedules", "remove", "often")
    assert json.loads(await cli.run("schedules", "list", "--json")) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cron": "61 * * * *"}, "field 'cron' is '61 * * * *'"),
        ({"cron": "0 0 30 2 *"}, "field 'cron' is '0 0 30 2 *'"),
        ({"zone": "Mars"}, "field 'timezone' is 'Mars'"),
        ({"client": "nobody"}, "field 'client' is 'nobody'"),
        ({"template": "plane"}, "did you mean 'plain'?"),
        ({"template": "rich"}, "tier basic may not run"),
        ({"parameter": "colour=red"}, "has no parameter 'colour'"),
        ({"parameter": "size=11"}, "parameter 'size' is 11"),
        ({"id": "No way"}, "field 'id' is 'No way'"),
    ],
    ids=str,
)
async def test_what_would_be_rejected_later_is_refused_now(
    factory: Factory, changed: dict[str, str], said: str
) -> None:
    cli = Cli(factory, factory.folder / "home")
    await factory.client()
    sized = [{"name": "size", "type": "integer", "maximum": 10}]
    await factory.template("plain", [{"name": "only"}], parameters=sized)
    await factory.template("rich", [{"name": "only"}], tiers=["premium"])
    given = {"id": "often", "template": "plain", "client": "acme", "cron": "0 7 * * *", "zone": "UTC", **changed}
    arguments = ["schedules", "add", given["id"], given["template"], "-c", given["client"], "--cron", given["cron"]]
    arguments += ["--timezone", given["zone"], *(["-p", given["parameter"]] if "parameter" in given else [])]
    error = await cli.run(*arguments, status=1)
    assert said in error
    assert await factory.fetch("SELECT 1 FROM schedules") == []
