"""Who holds which task, and what the passing of time makes due, on a real database."""

import asyncio

from consumers.coordinator import transitions
from consumers.coordinator.engine import facts
from contracts.executions import StepExecution
from contracts.messages import TaskKey, WorkerHeartbeat
from contracts.states import StepStatus
from infra import database, executions, leases
from tests.factories import Factory
from tests.integration.rows import age, load, row, state, store, submit

LEASE = 30.0


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


async def test_a_heartbeat_claims_what_it_names_and_releases_what_it_names_no_more(tables: Factory) -> None:
    ids = await submit(tables, 3)
    rows = [row(i, status=StepStatus.DISPATCHED) for i in ids]
    async with tables.pool.acquire() as connection:
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


async def test_an_overtaken_heartbeat_is_ignored(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
    held = row(execution_id, status=StepStatus.DISPATCHED)
    async with tables.pool.acquire() as connection:
        await store(connection, held)
        assert await leases.record(connection, beat(2, held.key))
        for sequence in (1, 2):
            assert not await leases.record(connection, beat(sequence))
            assert await holders(connection, held) == ["w1"]


async def test_a_heartbeat_claims_only_the_attempt_that_it_names(tables: Factory) -> None:
    ids = await submit(tables, 4)
    states = [StepStatus.DISPATCHED, StepStatus.DISPATCHED, StepStatus.COMPLETED, StepStatus.WAITING]
    rows = [row(i, status=s, attempt=2, epoch=2, wait=9.0) for i, s in zip(ids, states, strict=True)]
    async with tables.pool.acquire() as connection:
        await store(connection, *rows)
        held = [rows[0].key._replace(attempt=1), rows[1].key._replace(epoch=1), rows[2].key, rows[3].key]
        assert await leases.record(connection, beat(1, *held))
        assert await holders(connection, *rows) == [None] * 4


async def test_a_heartbeat_does_not_wait_for_rows_that_a_batch_is_changing(tables: Factory) -> None:
    ids = await submit(tables, 2)
    rows = [row(i, status=StepStatus.DISPATCHED) for i in ids]
    async with tables.pool.acquire() as batch, tables.pool.acquire() as connection:
        await store(connection, *rows)
        async with batch.transaction():
            running = rows[0]._replace(status=StepStatus.RUNNING, worker="w9")
            await executions.update_steps(batch, [(rows[0], running)])
            async with asyncio.timeout(5):
                assert await leases.record(connection, beat(1, *(r.key for r in rows)))
                await executions.mark_published(connection, [r.key for r in rows])
        assert await holders(connection, *rows) == ["w9", "w1"]
        assert await leases.unpublished(connection, -1.0, 10) == []


async def test_a_lease_lapses_only_when_its_worker_has_been_silent_for_that_long(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
    held = row(execution_id, status=StepStatus.DISPATCHED)
    async with tables.pool.acquire() as connection:
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


async def test_an_accepted_task_has_a_lease_before_the_first_heartbeat_of_its_worker(tables: Factory) -> None:
    """Also after a redelivery, when another worker had begun long ago."""
    (execution_id,) = await submit(tables)
    dispatched = row(execution_id, status=StepStatus.DISPATCHED)
    first = dispatched._replace(status=StepStatus.RUNNING, worker="w1", starts=("w1",))
    second = first._replace(worker="w2", starts=("w1", "w2"))
    async with tables.pool.acquire() as connection:
        await store(connection, dispatched)
        for old, new in ((dispatched, first), (first, second)):
            await executions.update_steps(connection, [(old, new)])
            assert await leases.lapsed(connection, LEASE, 10) == []
            assert await leases.overdue(connection, 0.0, 10) == []
            await age(connection, 100.0)
        assert await leases.lapsed(connection, LEASE, 10) == [(second.key, "w2")]
        assert await leases.overdue(connection, 0.0, 10) == [second.key], "100 s are over the time-out of 60"
        assert await leases.overdue(connection, 50.0, 10) == []


async def test_progress_does_not_begin_the_time_out_anew(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
    begun = row(execution_id, status=StepStatus.RUNNING, worker="w1", starts=("w1",))
    async with tables.pool.acquire() as connection:
        await store(connection, begun)
        await age(connection, 100.0)
        await executions.update_steps(connection, [(begun, begun._replace(fraction=0.5))])
        assert await leases.overdue(connection, 0.0, 10) == [begun.key]


async def test_only_starts_that_ended_with_a_death_make_a_crash_loop(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
    begun = row(execution_id, status=StepStatus.RUNNING, worker="w3", starts=("w1", "w2", "w3"))
    async with tables.pool.acquire() as connection:
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


async def test_a_task_is_unheld_when_it_was_published_and_nobody_has_it(tables: Factory) -> None:
    ids = await submit(tables, 4)
    dispatched, owed, running, parent = (row(i, status=StepStatus.DISPATCHED) for i in ids)
    async with tables.pool.acquire() as connection:
        await store(connection, dispatched, running, published=True)
        await store(connection, owed)
        await store(connection, parent._replace(status=StepStatus.RUNNING, shards=3))
        began = running._replace(status=StepStatus.RUNNING, worker="w1", starts=("w1",))
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


async def test_a_task_whose_confirmation_was_never_noted_is_missed_if_its_worker_loses_it(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
    dispatched = row(execution_id, status=StepStatus.DISPATCHED)
    async with tables.pool.acquire() as connection:
        await store(connection, dispatched)
        begun = dispatched._replace(status=StepStatus.RUNNING, worker="w1", starts=("w1",))
        await executions.update_steps(connection, [(dispatched, begun)])
        await leases.record(connection, beat(1))
        await age(connection, 100.0)
        assert [u.key for u in await leases.unheld(connection, 60.0, 10)] == [begun.key]


async def test_a_queue_in_which_many_wait_hides_no_lost_task_of_another(tables: Factory) -> None:
    ids = await submit(tables, 4)
    rows = [row(i, status=StepStatus.DISPATCHED, stage=s) for i, s in zip(ids, ("x", "x", "x", "y"), strict=True)]
    async with tables.pool.acquire() as connection:
        for each in rows:
            await store(connection, each, published=True)
            await age(connection, 100.0)
        found = await leases.unheld(connection, 60.0, 2)
    assert [u.key for u in found] == [rows[0].key, rows[1].key, rows[3].key]


async def test_a_task_whose_event_was_set_aside_for_its_version_is_neither_lost_nor_lapsed(tables: Factory) -> None:
    ids = await submit(tables, 2)
    lost, lapsed = row(ids[0], status=StepStatus.DISPATCHED), row(ids[1], status=StepStatus.DISPATCHED)
    async with tables.pool.acquire() as connection:
        await store(connection, lost, lapsed, published=True)
        await leases.record(connection, beat(1, lapsed.key))
        await age(connection, 100.0)

        async def found() -> set[TaskKey]:
            unheld = {item.key for item in await leases.unheld(connection, 60.0, 10)}
            return unheld | {key for key, _ in await leases.lapsed(connection, LEASE, 10)}

        assert await found() == {lost.key, lapsed.key}
        for number, each in enumerate((lost, lapsed)):
            await connection.execute(
                """INSERT INTO dead_letters (kind, fingerprint, reason, explanation, execution_id, epoch, step, shard,
                                             attempt)
                   VALUES ('message', $1, 'unknown_version', '', $2, $3, $4, $5, $6)""",
                *(str(number), *each.key),
            )
        assert await found() == set()
        await connection.execute("UPDATE dead_letters SET status = 'requeued', resolved_at = now()")
        assert await found() == set(), "what was requeued is on its way"
        await connection.execute("UPDATE dead_letters SET resolved_at = now() - interval '2 minutes'")
        assert await found() == {lost.key, lapsed.key}


async def test_instances_are_forgotten_when_nothing_refers_to_them(tables: Factory) -> None:
    ids = await submit(tables, 2)
    waiting = row(ids[0], status=StepStatus.WAITING, starts=("w1",), wait=9.0)
    done = row(ids[1], status=StepStatus.COMPLETED, starts=("w2",))
    async with tables.pool.acquire() as connection:
        await store(connection, waiting, done)
        for name in ("w1", "w2"):
            await leases.record(connection, beat(1, worker=name))
        await age(connection, 2 * 86400.0)
        await leases.record(connection, beat(1, worker="w3"))
        await leases.keep_house(connection)
        kept = await connection.fetch("SELECT id FROM worker_instances ORDER BY id")
        assert [r["id"] for r in kept] == ["w1", "w3"]


async def test_cancelled_executions_are_told_of_for_a_while(tables: Factory) -> None:
    ids = await submit(tables, 2)
    await transitions.advance(state(tables), [facts.Cancelled(i, "ada") for i in ids])
    async with tables.pool.acquire() as connection:
        await connection.execute("UPDATE executions SET finished_at = now() - interval '2 hours' WHERE id = $1", ids[0])
        assert await leases.live_cancels(connection, 3600.0, 10) == [(ids[1], 1)]
