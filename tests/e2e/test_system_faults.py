"""Faults of the system are not faults of the data: nothing is set aside, readiness says why, mending it is enough."""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from contracts import encoding, messages, topology
from contracts.tiers import Tier
from infra import management
from tests.factories import Client, Factory, eventually
from tests.readiness import Coordinator

pytestmark = pytest.mark.timeout(400)

QUICK = {"FACTORY_LEASE_SECONDS": "10", "FACTORY_HEARTBEAT_SECONDS": "1", "FACTORY_SWEEP_SECONDS": "0.5"}
HOUR = 3600.0

Mend = Callable[[Factory], Awaitable[None]]


async def execute(factory: Factory, *statements: str) -> None:
    """Runs statements as a person would who may write, whatever the database tells others."""
    connection = await asyncpg.connect(factory.settings.database_url)
    try:
        await connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def lose_partitions(factory: Factory) -> None:
    query = "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'timeline'::regclass"
    rows = await factory.fetch(query)
    await execute(factory, *(f"DROP TABLE {row['name']}" for row in rows))


async def make_partitions(factory: Factory) -> None:
    await execute(factory, "CREATE TABLE timeline_default PARTITION OF timeline DEFAULT")


async def lose_column(factory: Factory) -> None:
    await execute(factory, "ALTER TABLE step_executions RENAME COLUMN metrics TO measures")


async def find_column(factory: Factory) -> None:
    await execute(factory, "ALTER TABLE step_executions RENAME COLUMN measures TO metrics")


async def lose_table(factory: Factory) -> None:
    await execute(factory, "ALTER TABLE deliverables RENAME TO gone")


async def find_table(factory: Factory) -> None:
    await execute(factory, "ALTER TABLE gone RENAME TO deliverables")


async def demand_too_much(factory: Factory) -> None:
    await execute(factory, "ALTER TABLE deliverables ADD COLUMN reviewer text CHECK (reviewer IS NOT NULL)")


async def demand_it_no_more(factory: Factory) -> None:
    await execute(factory, "ALTER TABLE deliverables DROP COLUMN reviewer")


def _name(factory: Factory) -> str:
    return factory.settings.database_url.rpartition("/")[2].partition("?")[0]


async def forbid_writing(factory: Factory) -> None:
    await execute(factory, f'ALTER DATABASE "{_name(factory)}" SET default_transaction_read_only = on')
    await factory.fetch(
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE datname = current_database() AND application_name = 'factory coordinator'"""
    )


async def allow_writing(factory: Factory) -> None:
    await execute(factory, f'ALTER DATABASE "{_name(factory)}" RESET default_transaction_read_only')


FAULTS: dict[str, tuple[Mend, Mend, str]] = {
    "no partition of the timeline": (lose_partitions, make_partitions, "no partition of relation"),
    "a column is missing": (lose_column, find_column, "metrics"),
    "a table is missing": (lose_table, find_table, "deliverables"),
    "a constraint that nothing meets": (demand_too_much, demand_it_no_more, "deliverables"),
    "a read-only database": (forbid_writing, allow_writing, "read-only transaction"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_the_database_holds_everything_up_and_condemns_nothing(factory: Factory, fault: str) -> None:
    breaks, mends, named = FAULTS[fault]
    await factory.client()
    factory.environment.update(QUICK)
    # The first step writes to the timeline, the second does not, the third delivers: a batch holds some of each.
    steps: list[dict[str, Any]] = [
        {"name": "tried", "parameters": {"fail": "'transient'", "fail_below_attempt": "2"}, "retry": {"base": 0.1}},
        {"name": "plain", "depends_on": ["tried"]},
        {"name": "told", "depends_on": ["plain"], "deliver": ["json"]},
    ]
    await factory.template("mixed", steps)
    coordinator = Coordinator(factory)
    await coordinator.ready()
    async with factory.connect() as client:
        for _ in range(3):
            await client.submit("mixed")
        await client.answered(messages.JobAccepted, 3)
        await breaks(factory)
        for _ in range(7):
            await client.submit("mixed")
        factory.worker()
        await _fault(coordinator, named)
        assert await factory.fetch("SELECT 1 FROM dead_letters") == []
        await mends(factory)
        finished = await client.answered(messages.ExecutionFinished, 10, patience=180)
        await coordinator.ready()
    assert [message.status for message in finished] == ["completed"] * 10
    assert await factory.fetch("SELECT 1 FROM dead_letters") == []
    assert coordinator.process.poll() is None
    assert set(Counter(factory.runs()).values()) == {1}, "every attempt was made once"
    assert Counter(run[2] for run in factory.runs()) == {"tried": 20, "plain": 10, "told": 10}


async def _fault(coordinator: Coordinator, named: str) -> str:
    async def told() -> str | None:
        return next((reason for reason in (await coordinator.faults() or {}).values() if named in reason), None)

    found: str = await eventually(told, f"the coordinator says {named!r}", patience=120)
    return found


async def test_a_broker_without_policies_gets_no_work_until_it_has_them(factory: Factory) -> None:
    await factory.client()
    await factory.template("plain", [{"name": "only"}])
    settings = factory.settings
    async with management.connect(settings.amqp_admin_url, settings.amqp_url) as api:
        await api.remove_policy()
        # A foreign broker: its management API is out of reach for the factory.
        coordinator = Coordinator(factory, FACTORY_AMQP_ADMIN_URL="")
        factory.worker()
        async with factory.connect() as client:
            await client.submit("plain")
            reason = await coordinator.names("session", "a rejected message does not arrive")
            assert f"policy '{topology.POLICY}' is not in force; run 'factory migrate'" in reason
            assert (await client.connection.inspect(topology.jobs_queue(Tier.BASIC)))[0] == 1, "nothing was taken"
            await api.install_policy()
            (finished,) = await client.answered(messages.ExecutionFinished, patience=120)
        await coordinator.ready()
    assert finished.status == "completed"


async def take(client: Client, stage: str = "effect") -> messages.StageTask:
    """Takes a task out of its queue for good, as a worker does that nobody hears of again."""
    puller = await client.connection.puller()

    async def taken() -> messages.StageTask | None:
        delivery = await puller.get(topology.stage_queue(stage, Tier.BASIC))
        if delivery is None:
            return None
        await delivery.ack()
        message = encoding.decode(delivery.type, delivery.body)
        assert isinstance(message, messages.StageTask)
        return message

    found: messages.StageTask = await eventually(taken, "a task is on the queue")
    return found


async def test_an_event_of_a_newer_version_waits_and_its_task_is_not_done_again_meanwhile(factory: Factory) -> None:
    await factory.client()
    factory.environment.update(QUICK)
    await factory.template("plain", [{"name": "only"}])
    coordinator = Coordinator(factory)
    await coordinator.ready()
    async with factory.connect() as client:
        await client.submit("plain", key="told")
        told = await take(client)
        event = messages.StageProgress(**told.key._asdict(), worker="new", fraction=0.5).model_dump(mode="json")
        newer = json.dumps({**event, "version": 2, "moons": 3}).encode()
        await client.publisher.publish(
            *(topology.EVENTS, topology.event_key(Tier.BASIC), "StageProgress", newer),
            correlation_id=str(told.execution_id),
        )
        reason = await coordinator.names("versions", "upgrade")
        assert "factory dead list --reason unknown_version" in reason
        (letter,) = await factory.fetch("SELECT * FROM dead_letters")
        assert (letter["reason"], letter["status"], letter["body"]) == ("unknown_version", "open", newer)
        assert tuple(letter[name] for name in ("execution_id", "epoch", "step", "shard", "attempt")) == tuple(told.key)
        # A task that is lost beside it shows when the look for lost tasks has come round.
        await client.submit("plain", key="lost")
        lost = await take(client)
        again = await take(client)
        assert (again.execution_id, again.attempt) == (lost.execution_id, 2)
        assert await _attempts(factory) == {"told": 1, "lost": 2}
        # Once somebody has decided about the event, its task is like any other.
        await factory.fetch("UPDATE dead_letters SET status = 'discarded', resolved_at = now() RETURNING 1")
        factory.worker()
        finished = await client.answered(messages.ExecutionFinished, 1, patience=180)
        await coordinator.ready()
    assert finished[0].status == "completed"
    assert (await _attempts(factory))["told"] == 2


async def _attempts(factory: Factory) -> dict[str, int]:
    rows = await factory.fetch(
        "SELECT e.submit_key, s.attempt FROM step_executions s JOIN executions e ON e.id = s.execution_id"
    )
    return {row["submit_key"]: row["attempt"] for row in rows}


async def test_a_coordinator_that_was_absent_for_long_doubles_nothing(factory: Factory) -> None:
    """Frozen, so that it knows nothing of the time that passed, and longer than heartbeats live and leases last."""
    await factory.client()
    factory.environment.update(QUICK)
    slow = {"name": "one", "parameters": {"seconds": "8"}}
    await factory.template("slow", [slow, {"name": "two", "depends_on": ["one"]}])
    coordinator = Coordinator(factory)
    await coordinator.ready()
    worker = factory.worker(concurrency=2)
    async with factory.connect() as client:
        for _ in range(10):
            await client.submit("slow")
        await client.answered(messages.JobAccepted, 10)

        async def begun() -> bool:
            return len(factory.runs()) >= 2

        await eventually(begun, "the worker is at work")
        os.kill(coordinator.process.pid, signal.SIGSTOP)
        woken = time.monotonic() + 45

        async def long_gone() -> bool:
            return time.monotonic() > woken

        try:
            await eventually(long_gone, "the coordinator was away for several leases", patience=90)
        finally:
            os.kill(coordinator.process.pid, signal.SIGCONT)
        finished = await client.answered(messages.ExecutionFinished, 10, patience=180)
    assert [message.status for message in finished] == ["completed"] * 10
    assert worker.poll() is None
    assert set(Counter(factory.runs()).values()) == {1}
    assert {run[4] for run in factory.runs()} == {"1"}, "no attempt was made twice"
    kinds = [row["kind"] for row in await factory.fetch("SELECT kind FROM timeline")]
    assert not {"lease_lapsed", "task_lost"} & set(kinds)


async def test_tasks_that_wait_in_their_queue_for_an_hour_are_not_taken_for_lost(factory: Factory) -> None:
    await factory.client()
    factory.environment.update(QUICK)
    await factory.template("plain", [{"name": "only"}])
    await factory.template("other", [{"name": "only", "stage": "slow_effect"}])
    await Coordinator(factory).ready()
    async with factory.connect() as client:
        for _ in range(20):
            await client.submit("plain")
        await client.submit("other")
        lost = await take(client, "slow_effect")

        async def published() -> bool:
            return len(await factory.fetch("SELECT 1 FROM step_executions WHERE published_at IS NOT NULL")) == 21

        await eventually(published, "all tasks are on their queues")
        await factory.fetch(
            """UPDATE step_executions SET dispatched_at = dispatched_at - make_interval(secs => $1),
                      published_at = published_at - make_interval(secs => $1) RETURNING 1""",
            HOUR,
        )
        # The one that is really lost shows that the look for lost tasks has come round.
        again = await take(client, "slow_effect")
        assert (again.execution_id, again.attempt) == (lost.execution_id, 2)
        factory.worker()
        await client.answered(messages.ExecutionFinished, 20, patience=120)
    assert Counter(run[4] for run in factory.runs()) == {"1": 20}
