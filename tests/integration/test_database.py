"""Rows in a real database: they come back whole, and no write passes that was decided on another state."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from contracts.errors import ErrorClass
from contracts.messages import Inputs, Joined, ShardFailure
from contracts.states import ExecutionStatus, StepStatus
from contracts.tiers import OptimiseFor, Quality, Tier
from infra import database, executions, leases
from tests.factories import Factory, eventually
from tests.integration.rows import document, load, row, store, submit


async def in_transaction(
    connection: database.Connection, write: Callable[..., Awaitable[object]], changes: object
) -> None:
    """Writes in a transaction that ends with the write."""
    async with connection.transaction():
        await write(connection, changes)


async def test_a_row_comes_back_as_it_was_stored(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
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
        degraded=True,
        remade=1,
    )
    bare = row(execution_id, "a", status=StepStatus.COMPLETED)
    unwritten = {"execution_id", "step", "shard", "epoch", "wait", "dispatched_at"}
    defaults = row(execution_id, "b", status=StepStatus.PENDING)
    same = {name for name in full._fields if getattr(full, name) == getattr(defaults, name)}
    assert same == unwritten, "the test sets every field that is stored"
    async with tables.pool.acquire() as connection:
        await store(connection, full, bare)
        assert await load(connection, full, bare) == [full, bare]


async def test_rows_of_one_write_keep_their_own_lists(tables: Factory) -> None:
    ids = await submit(tables, 4)
    starts: list[tuple[str, ...]] = [(), ("w1",), ("w1", "w2"), ("", " ", "NULL")]
    rows = [row(i, status=StepStatus.RUNNING, starts=s) for i, s in zip(ids, starts, strict=True)]
    async with tables.pool.acquire() as connection:
        await store(connection, *rows)
        assert await load(connection, *rows) == rows
        kept = await connection.fetch("SELECT array_ndims(starts) AS n FROM step_executions ORDER BY execution_id")
        assert {r["n"] for r in kept} == {None, 1}, "no list became a list of lists"


async def test_a_write_on_another_state_than_the_stored_one_fails_and_nothing_is_written(tables: Factory) -> None:
    ids = await submit(tables, 3)
    rows = [row(i, status=StepStatus.DISPATCHED) for i in ids]
    async with tables.pool.acquire() as connection:
        await store(connection, *rows)
        done = [r._replace(status=StepStatus.COMPLETED) for r in rows]
        for stale in ({"status": StepStatus.RUNNING}, {"attempt": 2}, {"epoch": 2}):
            decided_on = [rows[0], rows[1]._replace(**stale), rows[2]]
            with pytest.raises(executions.GuardError, match="1 of 3"):
                await in_transaction(connection, executions.update_steps, list(zip(decided_on, done, strict=True)))
            assert await load(connection, *rows) == rows


async def test_an_execution_is_written_only_on_the_state_it_was_decided_on(tables: Factory) -> None:
    ids = await submit(tables, 2)
    async with tables.pool.acquire() as connection:
        async with connection.transaction():
            old = list((await executions.lock(connection, ids)).values())
        assert (old[0].reply_to, old[0].correlation_id, old[0].parameters["list"]) == ("reply.acme", "c1", [[1, 2], []])
        assert (old[0].tier, old[0].quality, old[0].optimise_for) == (Tier.BASIC, Quality.STANDARD, OptimiseFor.BALANCE)
        new = [e._replace(status=ExecutionStatus.RUNNING, explanation="on") for e in old]
        for stale in (old[1]._replace(epoch=2), old[1]._replace(status=ExecutionStatus.PAUSED)):
            with pytest.raises(executions.GuardError):
                await in_transaction(connection, executions.update_executions, [(old[0], new[0]), (stale, new[1])])
        assert await tables.statuses() == {"queued": 2}
        await executions.update_executions(connection, list(zip(old, new, strict=True)))
        assert await tables.statuses() == {"running": 2}


async def test_executions_are_locked_in_the_order_of_their_ids(tables: Factory) -> None:
    ids = sorted(await submit(tables, 2))
    async with tables.pool.acquire() as first, tables.pool.acquire() as second:
        holding = first.transaction()
        await holding.start()
        await executions.lock(first, [ids[0]])

        async def both() -> None:
            async with second.transaction():
                await executions.lock(second, reversed(ids))

        waiting = asyncio.create_task(both())
        await eventually(lambda: _waits(tables), "the second waits for the first")
        free = await first.fetch("SELECT 1 FROM executions WHERE id = $1 FOR UPDATE NOWAIT", ids[1])
        assert len(free) == 1, "it holds none that comes after the one it waits for"
        await holding.rollback()
        await waiting


async def _waits(tables: Factory) -> bool:
    rows = await tables.fetch(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return bool(rows)


async def test_steps_are_inserted_once(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
    started = row(execution_id, status=StepStatus.RUNNING, worker="w1")
    async with tables.pool.acquire() as connection:
        await store(connection, started)
        await executions.insert_steps(connection, [row(execution_id)])
        assert await load(connection, started) == [started]


async def test_shards_are_released_in_their_order_and_no_more_than_asked(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
    parent = row(execution_id, status=StepStatus.RUNNING, shards=5)
    async with tables.pool.acquire() as connection:
        await store(connection, parent)
        await executions.insert_shards(connection, parent)
        released = [[r.shard for r in await executions.release_shards(connection, parent, n)] for n in (2, 0, 2, 9, 9)]
        assert [sorted(shards) for shards in released] == [[1, 2], [], [3, 4], [5], []]
        counts = await executions.count_shards(connection, [(execution_id, "a", 1)])
        assert counts == {(execution_id, "a"): {StepStatus.DISPATCHED: 5}}


async def test_a_released_shard_has_a_task_that_is_owed(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
    parent = row(execution_id, status=StepStatus.RUNNING, shards=2)
    async with tables.pool.acquire() as connection:
        await store(connection, parent)
        await executions.insert_shards(connection, parent)
        (shard,) = await executions.release_shards(connection, parent, 1)
        assert await load(connection, shard) == [shard]
        assert await leases.unpublished(connection, -1.0, 10) == [shard.key]
        await executions.mark_published(connection, [shard.key])
        assert await leases.unpublished(connection, -1.0, 10) == []


async def test_shards_of_an_older_epoch_are_neither_counted_nor_touched(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
    parent = row(execution_id, status=StepStatus.RUNNING, shards=3, epoch=2)
    old = [row(execution_id, shard=s, status=StepStatus.DISPATCHED) for s in (1, 2)]
    new = row(execution_id, shard=3, epoch=2, status=StepStatus.WAITING, wait=60.0)
    async with tables.pool.acquire() as connection:
        await store(connection, parent, *old, new)
        named = [(execution_id, "a", 2)]
        assert await executions.count_shards(connection, named) == {(execution_id, "a"): {StepStatus.WAITING: 1}}
        assert await executions.release_shards(connection, parent, 5) == []
        await executions.cancel_shards(connection, named)
        after = await load(connection, *old, new)
        assert [r.status for r in after] == ["dispatched", "dispatched", "cancelled"]


async def test_cancelling_leaves_shards_that_are_over(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
    rows = [row(execution_id, shard=n, status=status) for n, status in enumerate(StepStatus, start=1)]
    rows = [r._replace(wait=1.0) if r.status is StepStatus.WAITING else r for r in rows]
    async with tables.pool.acquire() as connection:
        await store(connection, row(execution_id, status=StepStatus.RUNNING), *rows)
        await executions.cancel_shards(connection, [(execution_id, "a", 1)])
        over = {"completed", "failed", "skipped", "cancelled"}
        assert [r.status.value for r in await load(connection, *rows)] == [
            r.status.value if r.status.value in over else "cancelled" for r in rows
        ]


async def test_a_join_gathers_outputs_and_failures_in_the_order_of_the_shards(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
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
    async with tables.pool.acquire() as connection:
        await store(connection, parent, *shards)
        joined = await executions.joined(connection, parent)
    assert joined.outputs == (document("one"), document("four"))
    (failure,) = joined.failures
    assert failure == ShardFailure(shard=2, error_class=ErrorClass.TIMEOUT, explanation="slow", details={"a": "b"})
