"""The dead-letter desk with real servers and processes: requeue, canary, interruption, who may do what, upgrades."""

import asyncio
import json
import signal
import time
import uuid
from collections import Counter
from typing import Any

import pytest

from contracts import encoding, messages, topology
from contracts.tiers import Tier
from infra import broker, management
from tests.e2e.test_cli import Cli, cli
from tests.factories import Factory, eventually

__all__ = ["cli"]

pytestmark = pytest.mark.timeout(300)

QUICK = {"FACTORY_LEASE_SECONDS": "10", "FACTORY_HEARTBEAT_SECONDS": "1", "FACTORY_SWEEP_SECONDS": "0.5"}

ONCE_BROKEN: dict[str, Any] = {
    "name": "think",
    "depends_on": ["find"],
    "inputs": {"upstream": "find"},
    "retry": {"attempts": 1},
    "parameters": {"fail": "'permanent'", "fail_below_attempt": "2"},
}
"""Fails at the first attempt and at no other, so that it is mended by doing it again."""


OTHERS = """INSERT INTO dead_letters (kind, fingerprint, reason, explanation, queue, message_type, client_id, tier,
                                     template, body)
            SELECT 'message', n::text, 'unknown_template', repeat('no such template ', 10), 'jobs.basic', 'SubmitJob',
                   'client' || n % 9, 'basic', 'other', convert_to('{"client": "acme", "template": "other"}', 'UTF8')
            FROM generate_series(1, $1) AS n"""


async def _letters(factory: Factory, number: int, status: str | None = None) -> None:
    async def there() -> bool:
        (row,) = await factory.fetch(
            "SELECT count(*)::int AS n FROM dead_letters WHERE $1::text IS NULL OR status = $1", status
        )
        return bool(row["n"] >= number)

    await eventually(there, f"{number} dead letters, {status or 'whatever became of them'}")


async def _forgotten(factory: Factory, template: str, number: int, **fields: Any) -> None:
    """Publishes jobs for a template, from somebody who waits for no answer."""
    async with factory.connect() as client:
        for key in range(number):
            job = messages.SubmitJob(submit_key=f"{template}-{key}", client="acme", template=template, **fields)
            await client.publish(encoding.encode(job), reply_to=None)


async def test_a_failed_step_is_done_again_and_the_rest_follows(cli: Cli) -> None:
    factory = cli.factory
    await factory.client()
    steps = [{"name": "find", "parameters": {"records": "9", "size": "900"}}, ONCE_BROKEN]
    await factory.template("shaky", [*steps, {"name": "tell", "depends_on": ["think"], "deliver": ["json"]}])
    factory.coordinator()
    factory.worker()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with factory.connect() as client:
        job = messages.SubmitJob(submit_key="k", client="acme", template="shaky")
        await client.publish(encoding.encode(job), traceparent=trace)
        (finished,) = await client.answered(messages.ExecutionFinished)
    assert finished.status == "failed"

    (letter,) = await cli.json("dead", "list", "--stage", "effect", "--tier", "basic", "--client", "acme")
    assert (letter["kind"], letter["reason"], letter["error_class"]) == ("step", "failed", "permanent")
    assert (letter["step"], letter["epoch"], letter["attempt"]) == ("think", 1, 1)
    shown = await cli.json("dead", "show", str(letter["id"]))
    assert shown["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert shown["execution_id"] == str(finished.execution_id)
    assert [ref["step"] for ref in shown["refs"]] == ["find"]
    assert shown["refs"][0]["uri"].startswith("s3://")
    assert shown["history"][-1]["worker"]
    assert "told to fail" in shown["history"][-1]["explanation"]
    assert "told to fail" in await cli.run("dead", "show", str(letter["id"]))

    done = await cli.json("dead", "requeue", str(letter["id"]), "--note", "mended", "--canary", "1")
    assert (done["status"], done["done"], done["left"], done["note"]) == ("done", 1, 0, "mended")
    assert "@" in done["actor"]
    (row,) = await factory.fetch("SELECT status, epoch FROM executions")
    assert row["epoch"] == 2
    await factory.all_over(1)
    assert await factory.statuses() == {"completed": 1}
    runs = sorted((run[1], run[2]) for run in factory.runs())
    assert runs == [("1", "find"), ("1", "think"), ("2", "tell"), ("2", "think")]
    assert await cli.json("dead", "list") == []
    assert [one["id"] for one in await cli.json("dead", "operations")] == [done["id"]]
    refused = await cli.run("dead", "requeue", str(letter["id"]), status=1)
    assert "no open dead letter fits" in refused


async def test_what_is_chosen_is_shown_first_and_everything_must_be_asked_for(cli: Cli) -> None:
    factory = cli.factory
    await factory.client()
    factory.coordinator()
    await _forgotten(factory, "nowhere", 3)
    await _forgotten(factory, "elsewhere", 2)
    await _letters(factory, 5)
    assert "--all" in await cli.run("dead", "discard", status=1)
    assert "--yes" in await cli.run("dead", "discard", "--template", "nowhere", status=1)
    assert "--since" in await cli.run("dead", "list", "--since", "yesterday", status=2)
    dry = await cli.json("dead", "discard", "--template", "nowhere", "--dry-run")
    assert dry["letters"] == 3
    assert dry["kinds"][0]["reason"] == "unknown_template"
    assert len(await cli.json("dead", "list", "--since", "1h")) == 5
    assert await cli.json("dead", "list", "--until", "1h") == []
    assert await cli.json("dead", "operations") == []
    done = await cli.json("dead", "discard", "--template", "nowhere", "--note", "sent by mistake", "--yes")
    assert (done["action"], done["done"], done["filter"]) == (
        "discard", 3, {"template": "nowhere", "status": "open"},
    )  # fmt: skip
    assert {letter["template"] for letter in await cli.json("dead", "list")} == {"elsewhere"}
    lines = (await cli.run("dead", "export", "--status", "all")).splitlines()
    exported = [json.loads(line) for line in lines]
    assert Counter(letter["status"] for letter in exported) == {"discarded": 3, "open": 2}
    assert exported[0]["message"]["submit_key"] == "nowhere-0"
    assert exported[0]["queue"] == "jobs.basic"
    shown = await cli.run("dead", "show", str(exported[-1]["id"]))
    assert '"submit_key": "elsewhere-1"' in shown
    assert "this version can read it" in shown


async def test_the_rest_stays_where_the_canary_dies_again(cli: Cli) -> None:
    factory = cli.factory
    await factory.client()
    factory.coordinator()
    factory.worker()
    await _forgotten(factory, "late", 12)
    await _letters(factory, 12)
    failed = await cli.json("dead", "requeue", "--template", "late", "--canary", "2", "--yes", status=1)
    assert (failed["status"], failed["done"], failed["left"]) == ("canary_failed", 2, 10)
    again = await cli.json("dead", "list", "--template", "late")
    assert len(again) == 12
    assert sorted(letter["again_of"] for letter in again if letter["again_of"]) == [1, 2]
    assert "not stopped but canary_failed" in await cli.run("dead", "resume", str(failed["id"]), status=1)

    await factory.template("late", [{"name": "only"}])
    done = await cli.json("dead", "requeue", "--template", "late", "--canary", "2", "--yes")
    assert (done["status"], done["done"]) == ("done", 12)
    assert done["proved_at"]
    await factory.all_over(12)
    assert await factory.statuses() == {"completed": 12}
    assert await factory.fetch("SELECT 1 FROM outbox") == []


async def test_requeueing_lends_nobody_the_rights_of_the_factory(cli: Cli) -> None:
    factory = cli.factory
    await factory.client("acme", amqp_user="acme-user")
    await factory.client("victim")
    await factory.template("plain", [{"name": "only"}])
    settings = factory.settings
    factory.coordinator()
    factory.worker()
    async with management.connect(settings.amqp_admin_url, settings.amqp_url) as api:
        await api.put_user("acme-user", "secret")
    own = settings.amqp_url.partition("@")[2]
    async with broker.connect(f"amqp://acme-user:secret@{own}", name="acme") as connection:
        publisher = await connection.publisher()
        for name in ("acme", "victim"):
            job = messages.SubmitJob(submit_key="k", client=name, template="plain", parameters={"extra": 1})
            # From anybody else a coordinator's mark and sender are no more than noise.
            for headers in ({}, {"dead_letter": 1, "sender": "guest"}):
                await publisher.publish(
                    topology.JOBS, "job.basic", "SubmitJob", encoding.encode(job), user_id="acme-user", headers=headers
                )
    await _letters(factory, 4)
    letters = await cli.json("dead", "list")
    assert Counter(letter["reason"] for letter in letters) == {"invalid_parameters": 2, "forbidden": 2}
    assert {letter["again_of"] for letter in letters} == {None}, "nobody else says what became of a letter"
    await factory.fetch(
        "INSERT INTO pipeline_templates (name, version, parameters) SELECT name, 2, $1::jsonb FROM pipeline_templates",
        [{"name": "extra", "type": "integer"}],
    )
    await factory.fetch(
        "INSERT INTO pipeline_steps (template, version, position, name, stage) VALUES ('plain', 2, 0, 'only', 'effect')"
    )
    done = await cli.json("dead", "requeue", "--all", "--yes")
    assert done["done"] == 4
    await factory.all_over(1)
    await _letters(factory, 6)
    rows = await factory.fetch("SELECT client_id FROM executions")
    assert [row["client_id"] for row in rows] == ["acme"]
    still = await cli.json("dead", "list")
    assert [letter["reason"] for letter in still] == ["forbidden"] * 2


@pytest.mark.parametrize("kind", ["step", "message"])
async def test_a_killed_coordinator_doubles_and_loses_no_letter(cli: Cli, kind: str) -> None:
    factory = cli.factory
    factory.environment.update(QUICK)
    await factory.client(tier=Tier.ENTERPRISE)
    number = 320
    if kind == "step":
        await factory.template("shaky", [{"name": "find"}, ONCE_BROKEN])
    coordinator = factory.coordinator()
    factory.worker()
    await _forgotten(factory, "shaky", number)
    await _letters(factory, number)
    if kind == "message":
        await factory.template("shaky", [{"name": "find"}, {"name": "think", "depends_on": ["find"]}])
        await factory.fetch(OTHERS, 10_000 - number)
        began = time.monotonic()
        assert len(await cli.json("dead", "list", "--template", "other", "--limit", "20")) == 20
        print(f"the command listed 20 of 10,000 letters in {time.monotonic() - began:.2f} s")
    factory.coordinator()
    watching = cli.start("dead", "requeue", "--template", "shaky", "--canary", "10", "--yes", "--json")
    for share in (60, 150, 240):
        await _letters(factory, share, "requeued")
        coordinator.kill()
        coordinator = factory.processes[-1]
        factory.coordinator()
    out, err = await asyncio.to_thread(watching.communicate)
    assert watching.returncode == 0, out + err
    assert json.loads(out)["done"] == number
    await factory.all_over(number, 120)
    assert await factory.statuses() == {"completed": number}
    assert await cli.json("dead", "list", "--template", "shaky") == []
    rows = await factory.fetch("SELECT epoch, count(*)::int AS n FROM executions GROUP BY epoch")
    assert [tuple(row) for row in rows] == [(2 if kind == "step" else 1, number)]
    effects = Counter((run[0], run[2]) for run in factory.runs())
    assert set(effects.values()) <= ({1, 2} if kind == "step" else {1})


async def test_a_person_may_stop_an_operation_go_on_with_it_or_just_look_away(cli: Cli) -> None:
    factory = cli.factory
    await factory.client()
    factory.coordinator()
    await _forgotten(factory, "nowhere", 30)
    await _letters(factory, 30)
    process = cli.start("dead", "discard", "--template", "nowhere", "--rate", "0.2", "--yes")
    await _letters(factory, 1, "discarded")
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.to_thread(process.communicate)
    assert process.returncode == 130
    assert "stopped watching only" in err
    (one,) = await cli.json("dead", "operations")
    assert one["status"] == "running"
    assert "other operations have them" in await cli.run("dead", "discard", "--all", "--yes", status=1)
    stopped = await cli.json("dead", "stop", str(one["id"]))
    assert (stopped["status"], stopped["left"] > 0) == ("stopped", True)
    assert "is over: stopped" in await cli.run("dead", "stop", str(one["id"]), status=1)
    await factory.fetch("UPDATE dead_operations SET rate = 1000")
    resumed = await cli.json("dead", "resume", str(one["id"]))
    assert (resumed["status"], resumed["done"], resumed["left"]) == ("done", 30, 0)


async def test_a_starting_coordinator_requeues_what_it_can_read_by_now(cli: Cli) -> None:
    factory = cli.factory
    await factory.client()
    await factory.template("plain", [{"name": "only"}])
    (version,) = [
        encoding.encode(messages.SubmitJob(submit_key="new", client="acme", template="plain")),
    ]
    insert = """INSERT INTO dead_letters (kind, fingerprint, reason, explanation, queue, message_type, headers, body)
                VALUES ('message', $1, $2, 'older code', $3, $4, $5, $6)"""
    sender = {"user_id": factory.settings.amqp_url.split("//")[1].partition(":")[0]}
    for reason, queue, name, body in (
        ("unknown_version", "jobs.basic", "SubmitJob", version),
        ("unknown_version", "jobs.basic", "SubmitJob", b'{"version": 9}'),
        ("unknown_type", "events.basic", "SubmitJob", version),
        ("unknown_type", "jobs.basic", "MakeTea", b"{}"),
        ("invalid_message", "jobs.basic", "SubmitJob", version),
    ):
        await factory.fetch(insert, uuid.uuid4().hex, reason, queue, name, sender, body)
    factory.coordinator()
    factory.worker()
    await factory.all_over(1)
    (one,) = await cli.json("dead", "operations")
    assert (one["actor"], one["total"], one["filter"]) == ("coordinator", 1, {"ids": [1]})
    assert len(await cli.json("dead", "list")) == 4


async def test_tasks_that_die_again_and_messages_without_a_queue_stay_on_the_desk(cli: Cli) -> None:
    factory = cli.factory
    factory.coordinator()
    factory.worker()
    async with factory.connect() as client:
        await client.publisher.publish(topology.STAGES, "stage.effect.basic", "StageTask", b'{"version": 9}')
    await _letters(factory, 1)
    failed = await cli.json("dead", "requeue", "1", "--canary", "1", status=1)
    assert failed["status"] == "canary_failed"
    (letter,) = await cli.json("dead", "list", "--kind", "message", "--reason", "unknown_version")
    assert (letter["again_of"], letter["stage"], letter["queue"]) == (1, "effect", "stage.effect.basic")

    await factory.fetch("UPDATE dead_letters SET queue = 'stage.closed.basic' WHERE status = 'open'")
    done = await cli.json("dead", "requeue", "--stage", "effect", "--yes", status=1)
    assert (done["status"], done["done"], done["problems"]) == ("done", 0, 1)
    (letter,) = await cli.json("dead", "list")
    assert "no queue takes it" in letter["problem"]
    assert "no queue takes it" in await cli.run("dead", "list")


async def test_queues_show_what_waits_and_for_how_long(cli: Cli) -> None:
    factory = cli.factory
    await factory.client(tier=Tier.PREMIUM)
    await factory.template("plain", [{"name": "only"}])
    factory.coordinator()
    async with factory.connect() as client:
        for _ in range(3):
            await client.submit("plain")
        await client.answered(messages.JobAccepted, 3)

    async def waiting() -> dict[str, Any] | None:
        rows = {row["queue"]: row for row in await cli.json("queues", "--stage", "effect")}
        found: dict[str, Any] = rows["stage.effect.premium"]
        return found if found["depth"] == 3 and found["oldest"] else None

    found = await eventually(waiting, "three tasks wait")
    assert (found["tier"], found["consumers"]) == ("premium", 0)
    assert 0 < found["oldest"] < 60
    rows = {row["queue"]: row for row in await cli.json("queues")}
    assert rows["jobs.basic"]["consumers"] == rows["dead-letters"]["consumers"] == 1
    assert {"events.basic", "heartbeats", "stage.feed_fetcher.basic"} <= set(rows)
    assert "stage.effect.premium" in await cli.run("queues")
    assert "give one of" in await cli.run("queues", "--stage", "tea", status=1)
