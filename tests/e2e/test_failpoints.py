"""A coordinator and a worker die once at every failpoint under load: nothing is lost and nothing counts twice."""

import ast
import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from contracts import refs, topology
from contracts.tiers import Tier
from infra import objects
from infra.failpoints import Failpoint
from tests.factories import Client, Factory, eventually
from tests.launcher import ROOT, Process
from tests.mixture import ENDS, TEMPLATES, Load, running

QUICK = {"FACTORY_LEASE_SECONDS": "10", "FACTORY_HEARTBEAT_SECONDS": "1", "FACTORY_SWEEP_SECONDS": "0.5"}
PATIENCE = 120.0
"""Seconds in which a process must come to a point."""

DEATHS = 12
"""Deaths in a row before a healthy process catches up: the broker gives up what has died with twenty."""


GIVEN_BACK = {
    Failpoint.BUFFER_RETURNING: "effect",
    Failpoint.BUFFER_RETURNED: "effect",
    Failpoint.SURPLUS_RETURNING: "slow_effect",
    Failpoint.SURPLUS_RETURNED: "slow_effect",
}
"""Points that no even load comes to, and the stage whose tasks must be many at once."""


def places() -> dict[Failpoint, str]:
    """In which part of the source each point stands."""
    found: dict[Failpoint, str] = {}
    for part in ("infra", "consumers"):
        for path in (ROOT / part).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.reach":
                    found[Failpoint[ast.unparse(node.args[0]).removeprefix("Failpoint.")]] = _process(path)
    return found


def _process(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    if name.startswith("consumers/coordinator"):
        return "coordinator"
    return "worker" if name.startswith("consumers/runtime") else "both"


async def kill_at_each(
    points: Iterable[Failpoint],
    start: Callable[[str], Process],
    load: Load,
    log: Callable[[Process], str],
) -> list[str]:
    """Starts a process for each point, armed with it; returns what did not die there."""
    wrong: list[str] = []
    for number, point in enumerate(points, start=1):
        if number % DEATHS == 0:
            healthy = start("")
            await load.caught_up()
            healthy.kill()
            healthy.wait()
        process = start(f"{point}:kill")

        async def ended(process: Process = process) -> bool:
            return process.poll() is not None

        try:
            await eventually(ended, f"{point} is reached", PATIENCE)
        except AssertionError:
            process.kill()
            wrong.append(f"{point} was never reached")
            continue
        if process.returncode != -signal.SIGKILL:
            wrong.append(f"{point}: status {process.returncode}\n{log(process)[-2000:]}")
    return wrong


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("dying", ["coordinator", "worker"])
async def test_no_failpoint_loses_or_doubles_anything(factory: Factory, dying: str) -> None:
    factory.environment.update(QUICK)
    for tier in Tier:
        await factory.client(tier.value, tier)
    for name, steps in TEMPLATES.items():
        await factory.template(name, steps)
    where = places()
    points = [point for point in Failpoint if where[point] in (dying, "both") and point not in GIVEN_BACK]
    # A worker that stays takes over what the other one dies of, before five deaths make a crash loop of it.
    factory.worker("effect", "slow_effect")
    if dying == "worker":
        factory.coordinator()

    def start(spec: str) -> Process:
        if dying == "coordinator":
            return factory.coordinator(FACTORY_FAILPOINT=spec)
        return factory.worker("effect", "slow_effect", concurrency=2, FACTORY_FAILPOINT=spec)

    async with factory.connect() as client:
        load = Load(factory, client)
        async with running(load):
            assert await kill_at_each(points, start, load, factory.log) == []
        if dying == "coordinator":
            factory.coordinator()
        await _drained(factory, client, load)
        await _check(factory, client, load)


@pytest.mark.parametrize("point", GIVEN_BACK)
async def test_what_a_worker_gives_back_while_it_dies_is_done_once(factory: Factory, point: Failpoint) -> None:
    factory.environment.update(QUICK)
    stage = GIVEN_BACK[point]
    for tier in Tier:
        await factory.client(tier.value, tier)
    await factory.template("one", [{"name": "work", "stage": stage, "parameters": {"seconds": "0.2"}}])
    factory.coordinator()
    worker = factory.worker(stage, concurrency=1, FACTORY_FAILPOINT=f"{point}:kill")
    submitted = 0
    async with factory.connect() as client:

        async def died() -> bool:
            nonlocal submitted
            for tier in Tier:
                await client.submit("one", client=tier.value)
                submitted += 1
            if stage == "effect" and len(factory.runs()) > 2:
                # A worker that leaves gives back what it has buffered.
                worker.terminate()
            return worker.poll() is not None

        await eventually(died, f"{point} is reached")
        assert worker.returncode == -signal.SIGKILL
        factory.worker(stage)
        assert await factory.all_over(submitted) == {"completed": submitted}
        counted = await factory.fetch("SELECT count(*)::int AS n FROM step_executions WHERE status = 'completed'")
    assert counted[0]["n"] == submitted


SENDER = """
import asyncio, sys
import uvloop
from infra import broker, failpoints

async def send(url: str) -> None:
    failpoints.arm(failpoints.parse("publish_sent:kill"))
    async with broker.connect(url, name="sender") as connection:
        publisher = await connection.publisher()
        await publisher.publish("", "probe", "Probe", b"{}")
        print("confirmed", flush=True)

uvloop.run(send(sys.argv[1]))
"""


async def test_a_publish_that_was_sent_arrives_though_nobody_saw_its_confirm(factory: Factory) -> None:
    sender = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SENDER,
        factory.settings.amqp_url,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await sender.communicate()
    assert (sender.returncode, said) == (-signal.SIGKILL, b"")
    async with factory.connect() as client:

        async def arrived() -> bool:
            return (await client.connection.inspect(topology.PROBE))[0] == 1

        await eventually(arrived, "the message is in its queue")


async def _drained(factory: Factory, client: Client, load: Load) -> None:
    async def over() -> bool:
        await load.cancel()
        statuses = await factory.statuses()
        live = {"queued", "running", "paused"} & statuses.keys()
        return sum(statuses.values()) == len(load.submitted) and not live

    await eventually(over, f"{len(load.submitted)} executions are over", PATIENCE)


async def _check(factory: Factory, client: Client, load: Load) -> None:
    executions = await factory.fetch("SELECT id, submit_key, template, status FROM executions")
    assert {row["submit_key"]: row["template"] for row in executions} == load.submitted
    assert [dict(row) for row in executions if row["status"] not in ENDS[row["template"]]] == []
    await _nothing_waits(factory, client)
    await _each_step_counts_once(factory)
    await _dead_letters_are_the_poison(factory, load)
    await _documents_are_there(factory)


async def _nothing_waits(factory: Factory, client: Client) -> None:
    stuck = "SELECT status, count(*) FROM step_executions WHERE status NOT IN {} GROUP BY status"
    over = "('completed', 'failed', 'skipped', 'cancelled')"
    assert await factory.fetch(stuck.format(over)) == []

    async def empty() -> bool:
        (owed,) = await factory.fetch("SELECT count(*)::int AS n FROM outbox")
        queues = [f(tier) for tier in Tier for f in (topology.jobs_queue, topology.events_queue)]
        queues += [topology.stage_queue(s, tier) for s in ("effect", "slow_effect") for tier in Tier]
        left = [(await client.connection.inspect(queue))[0] for queue in [*queues, topology.DEAD_LETTERS]]
        return owed["n"] == 0 and not any(left)

    await eventually(empty, "outbox and queues are empty")


async def _each_step_counts_once(factory: Factory) -> None:
    rows = await factory.fetch(
        "SELECT e.template, s.step, s.shard, s.status, count(*)::int AS n FROM step_executions s"
        " JOIN executions e ON e.id = s.execution_id WHERE e.status = 'completed' GROUP BY 1, 2, 3, 4"
    )
    (number,) = await factory.fetch("SELECT count(*)::int AS n FROM executions WHERE status = 'completed'")
    counts = Counter({(r["template"], r["step"], r["shard"], r["status"]): r["n"] for r in rows})
    for template, step in (("wide", "find"), ("wide", "tell"), ("again", "work"), ("slow", "work")):
        assert counts[template, step, 0, "completed"] > 0
    shards = {shard for template, step, shard, _ in counts if (template, step) == ("wide", "read")}
    assert shards == set(range(7))
    assert {status for *_, status in counts} == {"completed"}
    assert number["n"] > 0


async def _dead_letters_are_the_poison(factory: Factory, load: Load) -> None:
    letters = await factory.fetch("SELECT kind, reason, body, execution_id FROM dead_letters")
    bodies = Counter(row["body"] for row in letters if row["kind"] == "message")
    assert bodies == Counter(load.poison)
    doomed = await factory.fetch("SELECT id FROM executions WHERE template = 'doomed'")
    dead = Counter(row["execution_id"] for row in letters if row["kind"] == "step")
    assert dead == Counter(row["id"] for row in doomed)


async def _documents_are_there(factory: Factory) -> None:
    rows = await factory.fetch("SELECT output FROM step_executions WHERE output IS NOT NULL")
    given = await factory.fetch("SELECT ref AS output FROM deliverables")
    stored = {ref.uri: ref for ref in (_ref(row["output"]) for row in [*rows, *given]) if ref.uri != refs.INLINE}
    assert stored
    async with objects.of(factory.settings) as bucket:
        for ref in stored.values():
            await bucket.get(ref)  # raises unless size and hash are right


def _ref(value: Any) -> refs.DataRef:
    return refs.DataRef.model_validate(value)
