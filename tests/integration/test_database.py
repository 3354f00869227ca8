"""What the statements promise, on a real database: guards, locks, leases, admission, values that come back whole."""

import asyncio
import dataclasses
import datetime
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from consumers.coordinator import admitting, engine, facts, transitions
from consumers.coordinator.library import Library
from consumers.coordinator.transitions import State
from contracts import messages, templates
from contracts.admission import Share
from contracts.errors import ErrorClass, TemplateError
from contracts.executions import StepExecution
from contracts.messages import Inputs, Joined, ShardFailure, TaskKey, WorkerHeartbeat
from contracts.refs import DataRef
from contracts.states import ExecutionStatus, StepStatus
from contracts.tiers import OptimiseFor, Quality, Tier
from infra import admission, database, executions, expressions, jobs, leases, migration, outbox, shared
from infra import templates as stored_templates
from infra.settings import Settings
from tests.factories import Factory, eventually

LEASE = 30.0
STEPS = [{"name": "a", "stage": "work"}, {"name": "b", "stage": "work", "depends_on": ["a"]}]


def document(name: str = "d", **fields: Any) -> DataRef:
    return DataRef(uri=f"s3://documents/{name}", sha256="0" * 64, size=5000, **fields)


def renamed(url: str, name: str) -> str:
    """The address of another database on the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def migrated(stack: Settings) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to, so that tests can have copies of it."""
    name = f"m{uuid.uuid4().hex[:12]}"

    async def create() -> None:
        await execute(stack.database_url, f'CREATE DATABASE "{name}"')
        await migration.upgrade(renamed(stack.database_url, name))

    asyncio.run(create())
    yield name
    asyncio.run(execute(stack.database_url, f'DROP DATABASE "{name}"'))


@pytest_asyncio.fixture
async def factory(stack: Settings, migrated: str, tmp_path: Path) -> AsyncIterator[Factory]:
    """The database of a factory, without its broker and its store."""
    name = f"t{uuid.uuid4().hex[:12]}"
    await execute(stack.database_url, f'CREATE DATABASE "{name}" TEMPLATE "{migrated}"')
    try:
        urls = [renamed(url, name) for url in (stack.database_url, stack.worker_database_url)]
        settings = dataclasses.replace(stack, database_url=urls[0], worker_database_url=urls[1])
        async with database.connect(settings.database_url, application="test", size=4) as pool:
            yield Factory(settings, {}, tmp_path, pool)
    finally:
        await execute(stack.database_url, f'DROP DATABASE "{name}" WITH (FORCE)')


async def submit(
    factory: Factory, number: int = 1, client: str = "acme", tier: Tier = Tier.BASIC, **fields: Any
) -> list[uuid.UUID]:
    """Queues executions of a stored template."""
    async with factory.pool.acquire() as connection:
        await jobs.save_client(connection, client, client.title(), tier, None)
        await stored_templates.apply(connection, templates.parse({"name": "plain", "steps": STEPS}))
        new = []
        for _ in range(number):
            job = messages.SubmitJob(submit_key=uuid.uuid4().hex, client=client, template="plain", **fields)
            execution = jobs.NewExecution(
                id=uuid.uuid4(),
                job=job,
                submit_hash="hash",
                template_version=1,
                parameters={"topic": "bees", "list": [[1, 2], []]},
                tier=tier,
                position=0,
                estimate=1.0,
                reply_to="reply.acme",
                correlation_id="c1",
                traceparent=None,
            )
            new.append(execution)
        await jobs.insert(connection, new)
    return [execution.id for execution in new]


def row(execution_id: uuid.UUID, step: str = "a", shard: int = 0, **fields: Any) -> StepExecution:
    """A row as it is stored first."""
    values = {"epoch": 1, "attempt": 1, "status": StepStatus.PENDING, "stage": "work", **fields}
    return StepExecution(execution_id=execution_id, step=step, shard=shard, **values)


async def store(connection: database.Connection, *rows: StepExecution, published: bool = False) -> None:
    """Stores rows with everything that they say."""
    fresh = [row(r.execution_id, r.step, r.shard, epoch=r.epoch, attempt=r.attempt) for r in rows]
    await executions.insert_steps(connection, fresh)
    await executions.update_steps(connection, list(zip(fresh, rows, strict=True)))
    if published:
        await executions.mark_published(connection, [r.key for r in rows])


async def load(connection: database.Connection, *rows: StepExecution) -> list[StepExecution]:
    """The rows as they are stored now."""
    places = [(r.execution_id, r.step, r.shard) for r in rows]
    found = await executions.load_steps(connection, {r.execution_id for r in rows}, [p for p in places if p[2]])
    by_place = {(r.execution_id, r.step, r.shard): dataclasses.replace(r, dispatched_at=None) for r in found}
    return [by_place[place] for place in places]


async def in_transaction(
    connection: database.Connection, write: Callable[..., Awaitable[None]], changes: object
) -> None:
    """Writes in a transaction that ends with the write."""
    async with connection.transaction():
        await write(connection, changes)


def state(factory: Factory) -> State:
    return State(factory.pool, Library(), engine.Tools(evaluate=expressions.value, random=lambda: 0.5))


# --- Rows ------------------------------------------------------------------------------------------------------------


async def test_a_row_comes_back_as_it_was_stored(factory: Factory) -> None:
    (execution_id,) = await submit(factory)
    failure = ShardFailure(shard=2, error_class=ErrorClass.TIMEOUT, explanation="slow", details={"host": "x"})
    full = row(
        execution_id,
        "b",
        status=StepStatus.RUNNING,
        attempt=4,
        stage="plan_b",
        retries=2,
        fallback=1,
        worker="w 3",
        starts=("w 1", "w\t2", "w 3", 'quoted "\\'),
        shards=7,
        inputs=Inputs(
            fields={"one": document("one", records=3), "all": Joined(outputs=(document(),), failures=(failure,))}
        ),
        manifest=document("manifest"),
        output=document("output", schema_name="Report", encoding="zstd"),
        files={"html": document("page", content_type="text/html")},
        summary={"found": 3, "ratio": 0.1, "new": True, "site": "a,b {c} 'd' ☃"},
        metrics={"seconds": 0.1},
        error_class=ErrorClass.CRASH_LOOP,
        error='it\'s {broken}, "twice"\n☃',
        error_details={"a": "", "b": "NULL"},
        fraction=0.5,
        note="half, {way}",
    )
    bare = row(execution_id, "a", status=StepStatus.COMPLETED)
    unwritten = {"execution_id", "step", "shard", "epoch", "wait", "dispatched_at"}
    defaults = row(execution_id, "b", status=StepStatus.PENDING)
    same = {f.name for f in dataclasses.fields(full) if getattr(full, f.name) == getattr(defaults, f.name)}
    assert same == unwritten, "the test sets every field that is stored"
    async with factory.pool.acquire() as connection:
        await store(connection, full, bare)
        assert await load(connection, full, bare) == [full, bare]


async def test_rows_of_one_write_keep_their_own_lists(factory: Factory) -> None:
    ids = await submit(factory, 4)
    starts: list[tuple[str, ...]] = [(), ("w1",), ("w1", "w2"), ("", " ", "NULL")]
    rows = [row(i, status=StepStatus.RUNNING, starts=s) for i, s in zip(ids, starts, strict=True)]
    async with factory.pool.acquire() as connection:
        await store(connection, *rows)
        assert await load(connection, *rows) == rows
        kept = await connection.fetch("SELECT array_ndims(starts) AS n FROM step_executions ORDER BY execution_id")
        assert {r["n"] for r in kept} == {None, 1}, "no list became a list of lists"


async def test_a_write_on_another_state_than_the_stored_one_fails_and_nothing_is_written(factory: Factory) -> None:
    ids = await submit(factory, 3)
    rows = [row(i, status=StepStatus.DISPATCHED) for i in ids]
    async with factory.pool.acquire() as connection:
        await store(connection, *rows)
        done = [dataclasses.replace(r, status=StepStatus.COMPLETED) for r in rows]
        for stale in ({"status": StepStatus.RUNNING}, {"attempt": 2}, {"epoch": 2}):
            decided_on = [rows[0], dataclasses.replace(rows[1], **stale), rows[2]]
            with pytest.raises(executions.GuardError, match="1 of 3"):
                await in_transaction(connection, executions.update_steps, list(zip(decided_on, done, strict=True)))
            assert await load(connection, *rows) == rows


async def test_an_execution_is_written_only_on_the_state_it_was_decided_on(factory: Factory) -> None:
    ids = await submit(factory, 2)
    async with factory.pool.acquire() as connection:
        async with connection.transaction():
            old = list((await executions.lock(connection, ids)).values())
        assert (old[0].reply_to, old[0].correlation_id, old[0].parameters["list"]) == ("reply.acme", "c1", [[1, 2], []])
        assert (old[0].tier, old[0].quality, old[0].optimise_for) == (Tier.BASIC, Quality.STANDARD, OptimiseFor.BALANCE)
        new = [dataclasses.replace(e, status=ExecutionStatus.RUNNING, explanation="on") for e in old]
        for stale in (dataclasses.replace(old[1], epoch=2), dataclasses.replace(old[1], status=ExecutionStatus.PAUSED)):
            with pytest.raises(executions.GuardError):
                await in_transaction(connection, executions.update_executions, [(old[0], new[0]), (stale, new[1])])
        assert await factory.statuses() == {"queued": 2}
        await executions.update_executions(connection, list(zip(old, new, strict=True)))
        assert await factory.statuses() == {"running": 2}


async def test_executions_are_locked_in_the_order_of_their_ids(factory: Factory) -> None:
    ids = sorted(await submit(factory, 2))
    async with factory.pool.acquire() as first, factory.pool.acquire() as second:
        holding = first.transaction()
        await holding.start()
        await executions.lock(first, [ids[0]])

        async def both() -> None:
            async with second.transaction():
                await executions.lock(second, reversed(ids))

        waiting = asyncio.create_task(both())
        await eventually(lambda: _waits(factory), "the second waits for the first")
        free = await first.fetch("SELECT 1 FROM executions WHERE id = $1 FOR UPDATE NOWAIT", ids[1])
        assert len(free) == 1, "it holds none that comes after the one it waits for"
        await holding.rollback()
        await waiting


async def _waits(factory: Factory) -> bool:
    rows = await factory.fetch(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return bool(rows)


async def test_steps_are_inserted_once(factory: Factory) -> None:
    (execution_id,) = await submit(factory)
    started = row(execution_id, status=StepStatus.RUNNING, worker="w1")
    async with factory.pool.acquire() as connection:
        await store(connection, started)
        await executions.insert_steps(connection, [row(execution_id)])
        assert await load(connection, started) == [started]


# --- Shards ----------------------------------------------------------------------------------------------------------


async def test_shards_are_released_in_their_order_and_no_more_than_asked(factory: Factory) -> None:
    (execution_id,) = await submit(factory)
    parent = row(execution_id, status=StepStatus.RUNNING, shards=5)
    async with factory.pool.acquire() as connection:
        await store(connection, parent)
        await executions.insert_shards(connection, parent)
        released = [[r.shard for r in await executions.release_shards(connection, parent, n)] for n in (2, 0, 2, 9, 9)]
        assert [sorted(shards) for shards in released] == [[1, 2], [], [3, 4], [5], []]
        counts = await executions.count_shards(connection, [(execution_id, "a", 1)])
        assert counts == {(execution_id, "a"): {StepStatus.DISPATCHED: 5}}


async def test_a_released_shard_has_a_task_that_is_owed(factory: Factory) -> None:
    (execution_id,) = await submit(factory)
    parent = row(execution_id, status=StepStatus.RUNNING, shards=2)
    async with factory.pool.acquire() as connection:
        await store(connection, parent)
        await executions.insert_shards(connection, parent)
        (shard,) = await executions.release_shards(connection, parent, 1)
        assert await load(connection, shard) == [shard]
        assert await leases.unpublished(connection, -1.0, 10) == [shard.key]
        await executions.mark_published(connection, [shard.key])
        assert await leases.unpublished(connection, -1.0, 10) == []


async def test_shards_of_an_older_epoch_are_neither_counted_nor_touched(factory: Factory) -> None:
    (execution_id,) = await submit(factory)
    parent = row(execution_id, status=StepStatus.RUNNING, shards=3, epoch=2)
    old = [row(execution_id, shard=s, status=StepStatus.DISPATCHED) for s in (1, 2)]
    new = row(execution_id, shard=3, epoch=2, status=StepStatus.WAITING, wait=60.0)
    async with factory.pool.acquire() as connection:
        await store(connection, parent, *old, new)
        named = [(execution_id, "a", 2)]
        assert await executions.count_shards(connection, named) == {(execution_id, "a"): {StepStatus.WAITING: 1}}
        assert await executions.release_shards(connection, parent, 5) == []
        await executions.cancel_shards(connection, named)
        after = await load(connection, *old, new)
        assert [r.status for r in after] == ["dispatched", "dispatched", "cancelled"]
        assert await leases.seconds_to_next_retry(connection) is None, "what is cancelled waits for nothing"


async def test_cancelling_leaves_shards_that_are_over(factory: Factory) -> None:
    (execution_id,) = await submit(factory)
    rows = [row(execution_id, shard=n, status=status) for n, status in enumerate(StepStatus, start=1)]
    rows = [dataclasses.replace(r, wait=1.0) if r.status is StepStatus.WAITING else r for r in rows]
    async with factory.pool.acquire() as connection:
        await store(connection, row(execution_id, status=StepStatus.RUNNING), *rows)
        await executions.cancel_shards(connection, [(execution_id, "a", 1)])
        over = {"completed", "failed", "skipped", "cancelled"}
        assert [r.status.value for r in await load(connection, *rows)] == [
            r.status.value if r.status.value in over else "cancelled" for r in rows
        ]


async def test_a_join_gathers_outputs_and_failures_in_the_order_of_the_shards(factory: Factory) -> None:
    (execution_id,) = await submit(factory)
    parent = row(execution_id, status=StepStatus.RUNNING, shards=4)
    shards = [
        row(execution_id, shard=4, status=StepStatus.COMPLETED, output=document("four")),
        row(execution_id, shard=1, status=StepStatus.COMPLETED, output=document("one")),
        row(
            execution_id,
            shard=2,
            status=StepStatus.FAILED,
            error_class=ErrorClass.TIMEOUT,
            error="slow",
            error_details={"a": "b"},
        ),
        row(execution_id, shard=3, status=StepStatus.CANCELLED),
    ]
    async with factory.pool.acquire() as connection:
        await store(connection, parent, *shards)
        joined = await executions.joined(connection, parent)
    assert joined.outputs == (document("one"), document("four"))
    (failure,) = joined.failures
    assert failure == ShardFailure(shard=2, error_class=ErrorClass.TIMEOUT, explanation="slow", details={"a": "b"})


# --- Transactions of the coordinator ---------------------------------------------------------------------------------


async def test_two_coordinators_taking_the_same_events_in_make_one_effect(factory: Factory) -> None:
    ids = await submit(factory, 6)
    both = [state(factory), state(factory)]
    await transitions.advance(both[0], [facts.Started(i) for i in ids])
    events = [messages.StageCompleted(**TaskKey(i, 1, "a", 0, 1)._asdict(), worker="w", output=document()) for i in ids]
    outcomes = await asyncio.gather(*(transitions.advance(s, e) for s in both for e in (events, events[::-1])))
    assert sorted(task.execution_id for o in outcomes for task in o.tasks) == sorted(ids)
    assert sum(o.ignored.total() for o in outcomes) == 18
    rows = await factory.fetch("SELECT status FROM step_executions WHERE step = 'b'")
    assert [r["status"] for r in rows] == ["dispatched"] * 6


async def test_an_execution_cancelled_before_it_started_leaves_no_open_rows(factory: Factory) -> None:
    (execution_id,) = await submit(factory)
    await transitions.advance(state(factory), [facts.Cancelled(execution_id, "ada")])
    outcome = await transitions.advance(state(factory), [facts.Started(execution_id)])
    assert outcome.ignored == {"duplicate": 1}
    assert await factory.fetch("SELECT 1 FROM step_executions") == []


# --- Admission -------------------------------------------------------------------------------------------------------


async def test_a_clients_urgent_jobs_come_first_and_then_the_oldest(factory: Factory) -> None:
    calm = await submit(factory, 2, urgency=5)
    urgent = await submit(factory, 2, urgency=9)
    other = await submit(factory, 1, client="beta", tier=Tier.PREMIUM, urgency=0)
    async with factory.pool.acquire() as connection:
        heads = await admission.heads(connection, 3)
        assert [h.execution_id for h in heads] == [*urgent, calm[0], other[0]]
        assert [(h.client, h.tier, h.cost) for h in heads[2:]] == [("acme", "basic", 1.0), ("beta", "premium", 1.0)]
        assert [h.execution_id for h in await admission.heads(connection, 1)] == [urgent[0], other[0]]
        assert await jobs.queued(connection, ["acme", "beta", "nobody"]) == {"acme": 4, "beta": 1, "nobody": 0}


async def test_a_flood_of_queued_jobs_is_not_read_to_find_the_heads(factory: Factory) -> None:
    (template,) = await submit(factory)
    await submit(factory, client="beta")
    async with factory.pool.acquire() as connection:
        await connection.execute(
            """INSERT INTO executions (id, client_id, submit_key, submit_hash, template, template_version, parameters,
                                       tier, quality, optimise_for, urgency, position, estimate)
               SELECT gen_random_uuid(), CASE WHEN n % 1000 = 0 THEN 'beta' ELSE 'acme' END, 'flood' || n, 'h', template,
                      1, parameters, tier, quality, optimise_for, n % 10, 0, 1
               FROM executions, generate_series(1, 20000) AS n WHERE id = $1""",
            template,
        )
        await connection.execute("ANALYZE executions")
        plan = await connection.fetchval("EXPLAIN (ANALYZE, FORMAT JSON) " + admission.SQL["heads"], 3)
        scans = [node for node in _nodes(plan[0]["Plan"]) if node.get("Relation Name") == "executions"]
        assert {node["Node Type"] for node in scans} <= {"Index Scan", "Index Only Scan"}
        assert {node["Index Name"] for node in scans} == {"executions_queued"}
        assert sum(node["Actual Rows"] * node["Actual Loops"] for node in scans) <= 20, "only the heads are read"
        assert len(await admission.heads(connection, 3)) == 6


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]


async def test_coordinators_that_admit_at_once_grant_exactly_the_free_slots(factory: Factory) -> None:
    for client, tier in (("acme", Tier.BASIC), ("beta", Tier.STANDARD), ("gamma", Tier.ENTERPRISE)):
        await submit(factory, 12, client, tier)
    states = [state(factory) for _ in range(3)]
    for granted in (10, 0):
        outcomes = await asyncio.gather(*(admitting.admit(s, 10) for s in states))
        assert sum(len(outcome.tasks) for outcome, _ in outcomes) == granted
        assert (await factory.statuses())["running"] == 10
    async with factory.pool.acquire() as connection:
        running = await admission.running(connection)
    assert running == {"acme": 2, "beta": 3, "gamma": 5}, "each up to its cap of ten slots"


async def test_virtual_times_are_kept_to_the_last_digit(factory: Factory) -> None:
    times = {"factory": Share(0.0, 1e15 + 0.125), "tier:basic": Share(0.1 + 0.2, 1 / 3)}
    async with factory.pool.acquire() as connection:
        await admission.save_shares(connection, {"factory": Share(1.0, 1.0)})
        await admission.save_shares(connection, times)
        assert await admission.shares(connection, [*times, "client:basic:new"]) == times


# --- Leases ----------------------------------------------------------------------------------------------------------


def beat(sequence: int, *held: TaskKey, worker: str = "w1", stopping: bool = False) -> WorkerHeartbeat:
    return WorkerHeartbeat(
        worker=worker,
        sequence=sequence,
        stages=("work",),
        capacity=4,
        in_flight=len(held),
        held=held,
        stopping=stopping,
    )


async def holders(connection: database.Connection, *rows: StepExecution) -> list[str | None]:
    return [r.worker for r in await load(connection, *rows)]


async def age(connection: database.Connection, seconds: float) -> None:
    """Lets everything that has happened have happened so many seconds ago."""
    for statement in (
        """UPDATE step_executions
           SET dispatched_at = dispatched_at - make_interval(secs => $1), published_at = published_at - make_interval(secs => $1),
               started_at = started_at - make_interval(secs => $1), next_attempt_at = next_attempt_at - make_interval(secs => $1)
        """,
        "UPDATE worker_instances SET last_seen = last_seen - make_interval(secs => $1)",
        "UPDATE outbox SET created_at = created_at - make_interval(secs => $1)",
    ):
        await connection.execute(statement, seconds)


async def test_a_heartbeat_claims_what_it_names_and_releases_what_it_names_no_more(factory: Factory) -> None:
    ids = await submit(factory, 3)
    rows = [row(i, status=StepStatus.DISPATCHED) for i in ids]
    async with factory.pool.acquire() as connection:
        await store(connection, *rows)
        assert await leases.record(connection, beat(1, rows[0].key, rows[1].key))
        assert await holders(connection, *rows) == ["w1", "w1", None]
        assert await leases.record(connection, beat(2, rows[1].key, rows[2].key))
        assert await holders(connection, *rows) == [None, "w1", "w1"]
        assert await leases.record(connection, beat(1, rows[0].key, worker="w2"))
        assert await holders(connection, *rows) == ["w2", "w1", "w1"]
        assert await leases.record(connection, beat(3, stopping=True))
        assert await holders(connection, *rows) == ["w2", None, None]
        assert await leases.unpublished(connection, -1.0, 10) == [], "what a worker has had was published"


async def test_an_overtaken_heartbeat_is_ignored(factory: Factory) -> None:
    (execution_id,) = await submit(factory)
    held = row(execution_id, status=StepStatus.DISPATCHED)
    async with factory.pool.acquire() as connection:
        await store(connection, held)
        assert await leases.record(connection, beat(2, held.key))
        for sequence in (1, 2):
            assert not await leases.record(connection, beat(sequence))
            assert await holders(connection, held) == ["w1"]


async def test_a_heartbeat_claims_only_the_attempt_that_it_names(factory: Factory) -> None:
    ids = await submit(factory, 4)
    states = [StepStatus.DISPATCHED, StepStatus.DISPATCHED, StepStatus.COMPLETED, StepStatus.WAITING]
    rows = [row(i, status=s, attempt=2, epoch=2, wait=9.0) for i, s in zip(ids, states, strict=True)]
    async with factory.pool.acquire() as connection:
        await store(connection, *rows)
        held = [rows[0].key._replace(attempt=1), rows[1].key._replace(epoch=1), rows[2].key, rows[3].key]
        assert await leases.record(connection, beat(1, *held))
        assert await holders(connection, *rows) == [None] * 4


async def test_a_heartbeat_does_not_wait_for_rows_that_a_batch_is_changing(factory: Factory) -> None:
    ids = await submit(factory, 2)
    rows = [row(i, status=StepStatus.DISPATCHED) for i in ids]
    async with factory.pool.acquire() as batch, factory.pool.acquire() as connection:
        await store(connection, *rows)
        async with batch.transaction():
            running = dataclasses.replace(rows[0], status=StepStatus.RUNNING, worker="w9")
            await executions.update_steps(batch, [(rows[0], running)])
            async with asyncio.timeout(5):
                assert await leases.record(connection, beat(1, *(r.key for r in rows)))
                await executions.mark_published(connection, [r.key for r in rows])
        assert await holders(connection, *rows) == ["w9", "w1"]
        assert await leases.unpublished(connection, -1.0, 10) == []


async def test_a_lease_lapses_only_when_its_worker_has_been_silent_for_that_long(factory: Factory) -> None:
    (execution_id,) = await submit(factory)
    held = row(execution_id, status=StepStatus.DISPATCHED)
    async with factory.pool.acquire() as connection:
        await store(connection, held, published=True)
        await age(connection, 10 * LEASE)
        assert await leases.lapsed(connection, LEASE, 10) == [], "nobody holds it: it may wait in its queue"
        await leases.record(connection, beat(1, held.key))
        await age(connection, LEASE - 2)
        assert await leases.lapsed(connection, LEASE, 10) == []
        await age(connection, 3)
        assert await leases.lapsed(connection, LEASE, 10) == [(held.key, "w1")]
        await leases.record(connection, beat(2, held.key))
        assert await leases.lapsed(connection, LEASE, 10) == []


async def test_an_accepted_task_has_a_lease_before_the_first_heartbeat_of_its_worker(factory: Factory) -> None:
    """Also after a redelivery, when another worker had begun long ago."""
    (execution_id,) = await submit(factory)
    dispatched = row(execution_id, status=StepStatus.DISPATCHED)
    first = dataclasses.replace(dispatched, status=StepStatus.RUNNING, worker="w1", starts=("w1",))
    second = dataclasses.replace(first, worker="w2", starts=("w1", "w2"))
    async with factory.pool.acquire() as connection:
        await store(connection, dispatched)
        for old, new in ((dispatched, first), (first, second)):
            await executions.update_steps(connection, [(old, new)])
            assert await leases.lapsed(connection, LEASE, 10) == []
            assert await leases.overdue(connection, 0.0, 10) == []
            await age(connection, 100.0)
        assert await leases.lapsed(connection, LEASE, 10) == [(second.key, "w2")]
        assert await leases.overdue(connection, 0.0, 10) == [second.key], "100 s are over the time-out of 60"
        assert await leases.overdue(connection, 50.0, 10) == []


async def test_progress_does_not_begin_the_time_out_anew(factory: Factory) -> None:
    (execution_id,) = await submit(factory)
    begun = row(execution_id, status=StepStatus.RUNNING, worker="w1", starts=("w1",))
    async with factory.pool.acquire() as connection:
        await store(connection, begun)
        await age(connection, 100.0)
        await executions.update_steps(connection, [(begun, dataclasses.replace(begun, fraction=0.5))])
        assert await leases.overdue(connection, 0.0, 10) == [begun.key]


async def test_only_starts_that_ended_with_a_death_make_a_crash_loop(factory: Factory) -> None:
    (execution_id,) = await submit(factory)
    begun = row(execution_id, status=StepStatus.RUNNING, worker="w3", starts=("w1", "w2", "w3"))
    async with factory.pool.acquire() as connection:
        await store(connection, begun)
        for name in ("w1", "w2", "w3"):
            await leases.record(connection, beat(1, worker=name))
        assert await leases.crash_looped(connection, 3, LEASE, 10) == []
        await age(connection, LEASE + 1)
        assert await leases.crash_looped(connection, 3, LEASE, 10) == [(begun.key, 3)]
        assert await leases.crash_looped(connection, 4, LEASE, 10) == []
        await leases.record(connection, beat(2, worker="w2", stopping=True))
        await age(connection, LEASE + 1)
        assert await leases.crash_looped(connection, 3, LEASE, 10) == [], "w2 left in good order"


async def test_a_task_is_unheld_when_it_was_published_and_nobody_has_it(factory: Factory) -> None:
    ids = await submit(factory, 4)
    dispatched, owed, running, parent = (row(i, status=StepStatus.DISPATCHED) for i in ids)
    async with factory.pool.acquire() as connection:
        await store(connection, dispatched, running, published=True)
        await store(connection, owed)
        await store(connection, dataclasses.replace(parent, status=StepStatus.RUNNING, shards=3))
        began = dataclasses.replace(running, status=StepStatus.RUNNING, worker="w1", starts=("w1",))
        await executions.update_steps(connection, [(running, began)])
        await age(connection, 100.0)
        found = await leases.unheld(connection, 60.0, 10)
        assert [(u.key, u.stage, u.tier) for u in found] == [(dispatched.key, "work", "basic")]
        await leases.record(connection, beat(1))
        found = await leases.unheld(connection, 60.0, 10)
        assert {u.key for u in found} == {dispatched.key, running.key}, (
            "its worker holds it no more; a fan-out has no task"
        )
        assert await leases.unheld(connection, 160.0, 10) == []


async def test_a_task_whose_confirmation_was_never_noted_is_missed_if_its_worker_loses_it(factory: Factory) -> None:
    (execution_id,) = await submit(factory)
    dispatched = row(execution_id, status=StepStatus.DISPATCHED)
    async with factory.pool.acquire() as connection:
        await store(connection, dispatched)
        begun = dataclasses.replace(dispatched, status=StepStatus.RUNNING, worker="w1", starts=("w1",))
        await executions.update_steps(connection, [(dispatched, begun)])
        await leases.record(connection, beat(1))
        await age(connection, 100.0)
        assert [u.key for u in await leases.unheld(connection, 60.0, 10)] == [begun.key]


async def test_delays_are_over_in_their_order(factory: Factory) -> None:
    ids = await submit(factory, 3)
    rows = [row(i, status=StepStatus.WAITING, wait=w) for i, w in zip(ids, (30.0, 10.0, 90.0), strict=True)]
    async with factory.pool.acquire() as connection:
        assert await leases.seconds_to_next_retry(connection) is None
        await store(connection, *rows)
        assert await leases.seconds_to_next_retry(connection) == pytest.approx(10.0, abs=5)
        assert await leases.retries_due(connection, 10) == []
        await age(connection, 40.0)
        assert await leases.retries_due(connection, 10) == [rows[1].key, rows[0].key]
        assert await leases.retries_due(connection, 1) == [rows[1].key]


async def test_instances_are_forgotten_when_nothing_refers_to_them(factory: Factory) -> None:
    ids = await submit(factory, 2)
    waiting = row(ids[0], status=StepStatus.WAITING, starts=("w1",), wait=9.0)
    done = row(ids[1], status=StepStatus.COMPLETED, starts=("w2",))
    async with factory.pool.acquire() as connection:
        await store(connection, waiting, done)
        for name in ("w1", "w2"):
            await leases.record(connection, beat(1, worker=name))
        await age(connection, 2 * 86400.0)
        await leases.record(connection, beat(1, worker="w3"))
        await leases.keep_house(connection)
        kept = await connection.fetch("SELECT id FROM worker_instances ORDER BY id")
        assert [r["id"] for r in kept] == ["w1", "w3"]


async def test_cancelled_executions_are_told_of_for_a_while(factory: Factory) -> None:
    ids = await submit(factory, 2)
    await transitions.advance(state(factory), [facts.Cancelled(i, "ada") for i in ids])
    async with factory.pool.acquire() as connection:
        await connection.execute("UPDATE executions SET finished_at = now() - interval '2 hours' WHERE id = $1", ids[0])
        assert await leases.live_cancels(connection, 3600.0, 10) == [(ids[1], 1)]


# --- Outbox, templates, what stages share ----------------------------------------------------------------------------


async def test_owed_messages_are_claimed_when_they_are_old_and_by_one_at_a_time(factory: Factory) -> None:
    probes = [outbox.owed(messages.Probe(nonce=str(n)), routing_key="q", correlation_id=f"c{n}") for n in range(3)]
    async with factory.pool.acquire() as first, factory.pool.acquire() as second:
        stored = await outbox.insert(first, probes)
        assert [o.id for o in stored] == sorted(o.id for o in stored)
        assert await outbox.claim(first, 10.0, 10) == []
        await age(first, 11.0)
        async with first.transaction(), second.transaction():
            assert await outbox.claim(first, 10.0, 2) == stored[:2]
            assert await outbox.claim(second, 10.0, 10) == stored[2:]
        await outbox.delete(first, [stored[0].id, stored[1].id])
        assert await outbox.claim(first, 10.0, 10) == stored[2:]
        assert await outbox.insert(first, []) == []


FULL: dict[str, Any] = {
    "name": "full",
    "title": "A title",
    "description": "Says 'it'",
    "tiers": ["basic", "premium"],
    "parameters": [
        {"name": "topic", "type": "string", "required": True, "pattern": "[a-z]+", "editable_by": ["premium"]},
        {"name": "many", "type": "list", "default": [[1, 2], []], "choices": [[[1, 2], []], [3]]},
    ],
    "steps": [
        {"name": "z", "stage": "work", "deliver": ["html", "json"], "cost": "2.5", "timeout": 30},
        {
            "name": "a",
            "stage": "work",
            "depends_on": ["z"],
            "when": "steps.z.found > 1",
            "inputs": {"given": "z"},
            "parameters": {"topic": "parameters.topic"},
            "retry": {"attempts": 5, "base": 0.5, "cap": 9, "classes": ["transient", "budget"]},
            "fallback": ["other", "third"],
            "optional": True,
            "fan_out": {"over": ["z"], "field": "record", "join": {"policy": "percentage", "value": 50}, "window": 7},
        },
    ],
}


async def test_a_template_is_stored_whole_and_once(factory: Factory) -> None:
    template = templates.parse(FULL)
    changed = templates.parse({**FULL, "title": "Another"})
    async with factory.pool.acquire() as connection:
        assert await stored_templates.load(connection, "full") is None
        assert await stored_templates.apply(connection, template) == (template, True)
        assert await stored_templates.load(connection, "full") == template
        assert await stored_templates.apply(connection, template.model_copy(update={"version": 9})) == (template, False)
        second, new = await stored_templates.apply(connection, changed)
        assert (second.version, second.title, new) == (2, "Another", True)
        third, new = await stored_templates.apply(connection, template)
        assert (third.version, new) == (3, True), "going back is a new version"
        assert await stored_templates.load(connection, "full", 1) == template
        assert [(t["name"], t["version"], t["steps"]) for t in await stored_templates.listing(connection)] == [
            ("full", 3, 2),
            ("full", 2, 2),
            ("full", 1, 2),
        ]


async def test_templates_applied_at_once_each_get_a_version(factory: Factory) -> None:
    async def apply(number: int) -> int:
        async with factory.pool.acquire() as connection:
            stored, _ = await stored_templates.apply(connection, templates.parse({**FULL, "title": f"By {number}"}))
            return stored.version

    assert sorted(await asyncio.gather(*map(apply, range(4)))) == [1, 2, 3, 4]
    assert sorted(await asyncio.gather(*map(apply, [7, 7, 7, 7]))) == [5, 5, 5, 5]


async def test_a_template_that_was_inserted_by_hand_is_read_and_a_broken_one_refused(factory: Factory) -> None:
    async with factory.pool.acquire() as connection:
        await connection.execute("INSERT INTO pipeline_templates (name, version) VALUES ('plain', 1)")
        await connection.execute(
            "INSERT INTO pipeline_steps (template, version, position, name, stage) VALUES ('plain', 1, 0, 'a', 'work')"
        )
        found = await stored_templates.load(connection, "plain")
        assert found == templates.parse({"name": "plain", "steps": [{"name": "a", "stage": "work"}]})
        await connection.execute("UPDATE pipeline_steps SET depends_on = '{gone}'")
        with pytest.raises(TemplateError, match="gone"):
            await stored_templates.load(connection, "plain")


async def test_the_workers_role_reaches_what_stages_share_and_nothing_else(factory: Factory) -> None:
    await submit(factory)
    worker_url = factory.settings.worker_database_url
    async with database.connect(worker_url, application="test", size=1) as pool, pool.acquire() as connection:
        await connection.execute(shared.SQL["write_cache"], "stage", "key", {"a": [1]}, 60.0)
        found = await connection.fetchrow(shared.SQL["read_cache"], "stage", "key")
        assert found is not None
        assert found["value"] == {"a": [1]}
        tables = await factory.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert len(tables) > 10
        refused = [
            *(
                f"{verb} public.{t['tablename']}"
                for t in tables
                for verb in ("SELECT 1 FROM", "DELETE FROM", "DROP TABLE")
            ),
            "CREATE TABLE public.own (a int)",
            "CREATE TABLE shared.own (a int)",
            "DROP TABLE shared.cache",
            "CREATE SCHEMA own",
            "SELECT public.make_timeline_partitions(1)",
            "SET ROLE postgres",
            f'SET ROLE "{urlsplit(factory.settings.database_url).username}"',
        ]
        for statement in refused:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    assert await factory.statuses() == {"queued": 1}


async def test_a_cached_value_lasts_as_long_as_it_was_told_to(factory: Factory) -> None:
    cache, other = shared.SharedCache(factory.pool, "one"), shared.SharedCache(factory.pool, "two")
    assert await cache.get("key") is None
    values: list[messages.Json] = [{"a": [[], [1]]}, [], "text", 0, False]
    for value in values:
        await cache.put("key", value, 60.0)
        assert await cache.get("key") == value
    assert await other.get("key") is None
    await cache.put("gone", 1, -1.0)
    assert await cache.get("gone") is None
    async with factory.pool.acquire() as connection:
        await shared.drop_stale(connection)
        assert [r["key"] for r in await connection.fetch("SELECT key FROM shared.cache")] == ["key"]


async def test_the_timeline_has_room_for_months_to_come(factory: Factory) -> None:
    (execution_id,) = await submit(factory)
    async with factory.pool.acquire() as connection:
        await leases.keep_house(connection)
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=80)
        await connection.execute(
            "INSERT INTO timeline (at, execution_id, kind) VALUES ($1, $2, 'test')", later, execution_id
        )
        await executions.insert_timeline(
            connection, [(execution_id, "retry", "a", None, 1, "ada", {"list": [[1], []]})]
        )
        found = await connection.fetch("SELECT kind, detail FROM timeline ORDER BY at")
        assert [(r["kind"], r["detail"]) for r in found] == [("retry", {"list": [[1], []]}), ("test", {})]
        assert await connection.fetch("SELECT 1 FROM timeline_default") == []


async def test_deliverables_of_a_later_epoch_replace_those_of_an_earlier_one(factory: Factory) -> None:
    (execution_id,) = await submit(factory)
    made = [messages.Deliverable(step="a", format="html", ref=document(name)) for name in ("old", "new")]
    async with factory.pool.acquire() as connection:
        for epoch, item in enumerate(made, start=1):
            await executions.insert_deliverables(connection, [(execution_id, epoch, item)])
        found = await connection.fetch("SELECT epoch, ref FROM deliverables")
    assert [(r["epoch"], DataRef.model_validate(r["ref"])) for r in found] == [(2, document("new"))]
