"""What runs all day reads what is live and what it names, by indexes, however much has piled up beside it."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
import pytest_asyncio

from consumers.coordinator import admitting, transitions
from consumers.coordinator.engine import tools
from consumers.coordinator.library import Library
from consumers.coordinator.transitions import State
from contracts import messages, refs
from contracts.errors import ErrorClass
from contracts.messages import TaskKey
from contracts.tiers import Tier
from infra import (
    budgets,
    census,
    database,
    dead_letters,
    executions,
    expressions,
    identifiers,
    jobs,
    leases,
    outbox,
    overview,
    pauses,
    retention,
    statements,
    statistics,
    timers,
    timings,
    views,
)
from infra.settings import Settings
from tests import plans
from tests.factories import drop_database
from tests.integration import abundance
from tests.integration.conftest import execute, renamed

MOST_ROWS = 4_000
"""Rows that a statement may read: those of a batch, or all that is live. The tables have many times as many."""

LIMIT = 500
DAY = 86_400.0


@pytest.fixture(scope="module")
def filled(stack: Settings, migrated: str) -> Iterator[str]:
    """The address of a database in which much has happened and much waits; the tests here share it."""
    name = f"p{uuid.uuid4().hex[:12]}"
    url = renamed(stack.database_url, name)

    async def fill() -> None:
        await execute(stack.database_url, f'CREATE DATABASE "{name}" TEMPLATE "{migrated}"')
        async with database.connect(url, application="test", size=1) as pool, pool.acquire() as connection:
            await abundance.fill(connection)

    asyncio.run(fill())
    yield url
    asyncio.run(drop_database(stack.database_url, name))


@pytest_asyncio.fixture(params=[{}, database.BY_INDEX], ids=["as people ask", "as coordinators ask"])
async def watch(filled: str, request: pytest.FixtureRequest) -> AsyncIterator[plans.Watch]:
    """Connections to that database."""
    async with plans.watched(filled, MOST_ROWS, request.param) as found:
        yield found


@contextlib.asynccontextmanager
async def undone(watch: plans.Watch) -> AsyncIterator[database.Connection]:
    """A transaction of which nothing stays."""
    async with watch.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            yield connection
        finally:
            await transaction.rollback()


async def ids(connection: database.Connection, status: str, number: int = 100) -> list[uuid.UUID]:
    rows = await connection.fetch("SELECT id FROM executions WHERE status = $1 LIMIT $2", status, number)
    return [row["id"] for row in rows]


def check(watch: plans.Watch, *names: str) -> None:
    """Fails with the plans that read too much, and if one of these statements was not among them."""
    wrong = {
        (plan.statement, plan.mode): f"{plan.statement}, {plan.mode}, large are {sorted(watch.large)}\n{plan.text}"
        for plan in watch.seen
        if plan.scanned & watch.large or sum(plan.rows[table] for table in plan.rows.keys() & watch.large) > MOST_ROWS
    }
    assert not wrong, "\n".join(wrong.values())
    assert set(names) <= {plan.statement for plan in watch.seen}


async def test_taking_jobs(watch: plans.Watch) -> None:
    async with undone(watch) as connection:
        names = [f"client-{n}" for n in range(abundance.CLIENTS)]
        await jobs.clients(connection, names)
        await jobs.service_users(connection, ["factory"])
        # Counting stops at a thousand for each client, which is more than all that this database has of ten.
        await jobs.queued(connection, names[:4])
        new = [_job(name) for name in names * 2]
        await jobs.insert(connection, new)
        await jobs.submitted(connection, [(n.job.client, n.job.submit_key) for n in new])
    check(watch, "jobs.load_clients", "jobs.queued_ahead", "jobs.insert_executions", "jobs.find_submitted")


def _job(client: str) -> jobs.NewExecution:
    job = messages.SubmitJob(submit_key=uuid.uuid4().hex, client=client, template="plain", delay=60.0)
    return jobs.NewExecution(identifiers.new(), job, "h", 1, {}, Tier.BASIC, 0, 1.0, None, None, None)


async def test_admitting(watch: plans.Watch) -> None:
    outcome, _ = await admitting.admit(_state(watch.pool), abundance.RUNNING + 50)
    assert outcome.tasks
    check(watch, "admission.running", "admission.heads", "admission.load_shares", "admission.save_shares")
    check(watch, "executions.lock_executions", "executions.step_versions", "executions.insert_steps")


def _state(pool: database.Pool) -> State:
    return State(pool, Library(), tools.Tools(evaluate=expressions.value, random=lambda: 0.5))


async def test_a_batch_of_events(watch: plans.Watch) -> None:
    ref = refs.DataRef(uri="s3://documents/d", sha256="0" * 64, size=5000)
    async with undone(watch) as connection:
        running = await connection.fetch(
            "SELECT execution_id FROM step_executions WHERE status = 'running' AND attempt = 2 LIMIT 90"
        )
        keys = [TaskKey(row["execution_id"], 1, "a", 0, 2) for row in running]
        done = [messages.StageCompleted(**key._asdict(), worker="worker-1", output=ref) for key in keys[10:]]
        done += [
            messages.StageCompleted(**key._replace(step="b", attempt=1)._asdict(), worker="worker-1", output=ref)
            for key in keys[50:]
        ]
        failed = [
            messages.StageFailed(
                **key._asdict(), worker="worker-1", error_class=kind, explanation="told to", details={}
            )
            for key, kind in zip(keys[:10], [ErrorClass.TRANSIENT, ErrorClass.PERMANENT] * 5, strict=True)
        ]
        outcome = await transitions.apply(connection, _state(watch.pool), [*done, *failed])
        assert outcome.finished
        offered = [offer.task.key for offer in outcome.tasks]
        await executions.mark_published(connection, offered)
        await leases.record(connection, _beat(offered))
        await outbox.delete(connection, [owed.id for owed in outcome.owed])
    check(watch, "executions.load_steps", "executions.update_steps", "executions.update_executions")
    check(watch, "executions.insert_timeline", "executions.mark_published", "outbox.insert_owed", "outbox.delete_owed")
    check(watch, "timers.set_retries", "dead_letters.insert_step", "leases.claim_held", "leases.release_unheld")


READ = """
SELECT relname, seq_tup_read, idx_tup_fetch FROM pg_stat_xact_user_tables
WHERE relname IN ('executions', 'step_executions')
"""


@pytest.mark.parametrize("mode", plans.MODES)
async def test_a_batch_that_goes_the_short_way(watch: plans.Watch, mode: str) -> None:
    """Its statement is a function, into which no plan looks; the database counts what it reads."""
    ref = refs.DataRef(uri="s3://documents/d", sha256="0" * 64, size=5000)
    async with undone(watch) as connection:
        running = [
            row["execution_id"]
            for row in await connection.fetch(
                "SELECT execution_id FROM step_executions WHERE status = 'running' LIMIT 90"
            )
        ]
        found = await executions.lock_versions(connection, running)
        steps = await executions.step_versions(connection, running)
        rows = {r.execution_id: r for r in await executions.load_steps(connection, running, []) if r.step == "a"}
        decided = [
            executions.Remembered(
                i, 1, executions.Versions(version, steps[i]), [(rows[i], rows[i]._replace(output=ref))]
            )
            for i, (_, version) in found.items()
        ]
        await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
        before = {row["relname"]: row for row in await connection.fetch(READ)}
        assert len(await executions.settle(connection, decided)) == len(running)
        after = {row["relname"]: row for row in await connection.fetch(READ)}
    for table, row in after.items():
        assert row["seq_tup_read"] == before[table]["seq_tup_read"], f"{table} is read from end to end"
        assert row["idx_tup_fetch"] - before[table]["idx_tup_fetch"] <= MOST_ROWS


def _beat(held: Sequence[TaskKey]) -> messages.WorkerHeartbeat:
    return messages.WorkerHeartbeat(
        worker="worker-2",
        sequence=1,
        stages=("work",),
        capacity=64,
        in_flight=len(held),
        held=tuple(held),
        stopping=False,
    )


async def test_a_batch_of_shards(watch: plans.Watch) -> None:
    async with undone(watch) as connection:
        (parent,) = await connection.fetch("SELECT execution_id FROM step_executions WHERE shard = 1")
        named = [(parent["execution_id"], "b", shard) for shard in range(1, 101)]
        steps = await executions.load_steps(connection, [parent["execution_id"]], named)
        assert len(steps) == 102
        await executions.step_versions(connection, [parent["execution_id"]])
        counts = await executions.count_shards(connection, [(parent["execution_id"], "b", 1)])
        assert sum(*map(dict.values, counts.values())) == abundance.SHARDS
        row = next(step for step in steps if step.step == "b" and not step.shard)
        assert len(await executions.release_shards(connection, row, 10)) == 10
    check(watch, "executions.count_shards", "executions.release_shards")
    released = [plan.rows["step_executions"] for plan in watch.seen if plan.statement == "executions.release_shards"]
    assert max(released) <= 100, "a window does not read the shards that are over"


async def test_sweeps(watch: plans.Watch) -> None:
    async with undone(watch) as connection:
        assert await leases.unpublished(connection, 15.0, LIMIT)
        await leases.unprepared(connection, LIMIT)
        assert await leases.lapsed(connection, 30.0, LIMIT)
        assert await leases.overdue(connection, 60.0, LIMIT)
        await leases.crash_looped(connection, 5, 30.0, LIMIT)
        assert await leases.unheld(connection, 60.0, LIMIT)
        assert await leases.live_cancels(connection, 3600.0, LIMIT)
        await leases.keep_house(connection)
        assert len(await outbox.claim(connection, 15.0, LIMIT)) == LIMIT
        await budgets.expire(connection, LIMIT)
        await pauses.to_hold(connection, LIMIT)
        await pauses.to_release(connection, LIMIT)
    check(watch, *(f"leases.{name}" for name in ("unpublished", "unprepared", "lapsed", "overdue", "unheld")))
    check(watch, "leases.live_cancels", "leases.forget_instances", "outbox.claim_owed", "budgets.left_open")


async def test_timers(watch: plans.Watch) -> None:
    async with undone(watch) as connection:
        some = await ids(connection, "queued")
        await timers.set_executions(connection, "deadline", dict.fromkeys(some, -1.0))
        due = await timers.due(connection, LIMIT)
        assert len(due) == len(some)
        await timers.seconds_to_next(connection)
        await timers.hold(connection, some)
        await timers.wake(connection, some)
        assert await timers.done(connection, due) == len(due)
        await timers.keep_house(connection)
    check(watch, "timers.due", "timers.seconds_to_next", "timers.done", "timers.forget_held")


async def test_dead_letters(watch: plans.Watch) -> None:
    async with undone(watch) as connection:
        for selection in (
            {"status": "open"},
            {"status": "open", "stage": "work"},
            {"status": "open", "client": "client-1"},
        ):
            assert await dead_letters.listing(connection, selection, 50)
        await dead_letters.count_newer(connection)
        await dead_letters.settle_reopened(connection, await ids(connection, "running"))
    check(watch, "dead_letters.listing", "dead_letters.count_newer", "dead_letters.settle_reopened")


async def test_what_people_look_at(watch: plans.Watch) -> None:
    async with undone(watch) as connection:
        (one,) = await ids(connection, "completed", 1)
        for read in (views.execution, views.order, views.steps, views.deliverables, views.timeline):
            await read(connection, one)
        await views.executions(connection)
    check(watch, "views.find_execution", "views.execution_steps", "views.timeline", "views.list_executions")


async def test_what_is_watched_each_second(watch: plans.Watch) -> None:
    async with undone(watch) as connection:
        await overview.ended(connection, 60.0)
        assert len(await overview.under_way(connection)) == 2 * overview.LISTED
        assert sum(group.letters for group in await overview.letters(connection)) > 0
        await views.workers(connection, 600.0)
        await pauses.all_of(connection)
    check(watch, "overview.ended", "overview.under_way", "overview.open_letters", "views.live_workers")


async def test_one_execution_over_time(watch: plans.Watch) -> None:
    async with undone(watch) as connection:
        (wide,) = await connection.fetch("SELECT execution_id FROM step_executions WHERE shard = 1")
        for read in (timings.steps, timings.repeats, timings.costs):
            await read(connection, wide["execution_id"])
        assert len(await timings.shards(connection, wide["execution_id"], "b")) == abundance.SHARDS
    check(watch, *(f"timings.{name}" for name in ("steps", "shards", "repeats", "costs")))


async def test_figures_of_a_day(watch: plans.Watch) -> None:
    async with undone(watch) as connection:
        # All facts of the timeline are of this moment; those of some days ago lie beside them.
        await connection.execute("UPDATE timeline SET at = at - interval '2 days'")
        await connection.execute("ANALYZE timeline")
        for window in (statistics.Window(DAY), statistics.Window(DAY, "client-1", "plain", Tier.BASIC, "work")):
            await statistics.executions(connection, window)
            await statistics.stages(connection, window)
            await statistics.costs(connection, window, "stage")
            await statistics.workers(connection, window)
    check(watch, *(f"statistics.{name}" for name in ("executions", "stages", "costs", "workers")))


async def test_removing_what_is_old(watch: plans.Watch) -> None:
    removed = await retention.executions(watch.pool, 90 * DAY, retention.BEGINNING)
    assert removed.executions == LIMIT
    assert removed.place is not None
    await retention.executions(watch.pool, 90 * DAY, removed.place)
    await retention.rest(watch.pool, 5 * DAY)
    check(watch, "retention.remove_executions", "retention.remove_letters", "retention.remove_owed")


def test_what_is_looked_at_are_statements_of_the_factory() -> None:
    known = {f"{topic}.{name}" for topic in statements.topics() for name in statements.load(topic)}
    assert set(plans.NAMES.values()) == known


async def test_a_census(watch: plans.Watch) -> None:
    async with undone(watch) as connection:
        await census.take(connection, 200, 30.0, LIMIT)
    names = ("longest_queued", "count_stuck", "count_tasks", "count_dead_letters", "count_owed", "money")
    check(watch, *(f"census.{name}" for name in names))
