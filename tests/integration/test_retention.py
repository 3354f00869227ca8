"""What is over for long is removed, with all that belongs to it; whatever somebody may still need stays."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

from consumers.coordinator import retention as loop
from consumers.coordinator import transitions
from consumers.coordinator.engine import facts
from contracts.states import EXECUTION_OVER, PauseReason
from contracts.templates import parse
from infra import database, identifiers, jobs, retention, templates
from infra.retention import BEGINNING, Removed
from tests import filling
from tests.factories import Factory, eventually
from tests.integration.rows import STEPS, state, submit

DAY = 86_400.0
KEPT = 90 * DAY
PARTS = {
    "executions": "SELECT id FROM executions",
    "step_executions": "SELECT execution_id AS id FROM step_executions",
    "deliverables": "SELECT execution_id AS id FROM deliverables",
    "timers": "SELECT execution_id AS id FROM timers",
}


async def over(tables: Factory, days: float, number: int = 1, status: str = "completed") -> list[uuid.UUID]:
    """Executions that were over so many days ago, each with two steps, a deliverable and a timer."""
    ids = await submit(tables, number)
    async with tables.pool.acquire() as connection:
        for statement in (
            """UPDATE executions SET status = $2, created_at = now() - make_interval(secs => $3),
                   started_at = now() - make_interval(secs => $3), finished_at = now() - make_interval(secs => $3)
               WHERE id = ANY ($1)""",
            """INSERT INTO step_executions (execution_id, step, epoch, status, stage)
               SELECT id, step, 1, 'completed', 'work' FROM executions, unnest(ARRAY['a', 'b']) AS step
               WHERE id = ANY ($1) AND $2 <> '' AND $3 > 0""",
            """INSERT INTO deliverables (execution_id, step, format, epoch, ref)
               SELECT id, 'b', 'json', 1, '{}' FROM executions WHERE id = ANY ($1) AND $2 <> '' AND $3 > 0""",
            """INSERT INTO timers (kind, subject, due_at, execution_id)
               SELECT 'retry', id::text, 'infinity', id FROM executions WHERE id = ANY ($1) AND $2 <> '' AND $3 > 0""",
        ):
            await connection.execute(statement, ids, status, days * DAY)
    return ids


async def left(tables: Factory, part: str = "executions") -> set[uuid.UUID]:
    return {row["id"] for row in await tables.fetch(PARTS[part])}


async def letter(tables: Factory, status: str, days: float, execution_id: uuid.UUID | None = None) -> int:
    (row,) = await tables.fetch(
        """INSERT INTO dead_letters (kind, fingerprint, reason, explanation, execution_id, status, created_at,
                                     resolved_at)
           VALUES ('step', $1, 'failed', '', $2, $3, now() - make_interval(secs => $4),
                   CASE WHEN $3 <> 'open' THEN now() - make_interval(secs => $4) END)
           RETURNING id""",
        uuid.uuid4().hex,
        execution_id,
        status,
        days * DAY,
    )
    return int(row["id"])


@contextlib.asynccontextmanager
async def held(tables: Factory, statement: str, *arguments: object) -> AsyncIterator[database.Connection]:
    """What the statement locks is locked by somebody else."""
    async with tables.pool.acquire() as connection, connection.transaction():
        await connection.execute(statement, *arguments)
        yield connection


async def whole_pass(tables: Factory, limit: int = retention.BATCH, rows: int = retention.BATCH_ROWS) -> list[int]:
    """Batches until nothing is left to remove; how many executions each has removed."""
    batches: list[int] = []
    place = BEGINNING
    while True:
        removed = await retention.executions(tables.pool, KEPT, place, limit=limit, rows=rows)
        if removed.place is None:
            return batches
        batches.append(removed.executions)
        place = removed.place


async def test_what_was_over_long_ago_goes_with_all_that_is_its_own(tables: Factory) -> None:
    old = [(await over(tables, 91, status=status.value))[0] for status in sorted(EXECUTION_OVER)]
    young = await over(tables, 89)
    assert await whole_pass(tables) == [len(old)]
    for part in PARTS:
        assert await left(tables, part) == set(young), part


async def test_what_is_not_over_stays_however_old(tables: Factory) -> None:
    ids = [(await over(tables, 500))[0] for _ in ("queued", "running", "paused")]
    for execution_id, status in zip(ids, ("queued", "running", "paused"), strict=True):
        await tables.fetch(
            "UPDATE executions SET status = $2, finished_at = NULL, pause_reason = $3 WHERE id = $1",
            *(execution_id, status, PauseReason.OPERATOR.value if status == "paused" else None),
        )
    (long,) = await over(tables, 500)
    await tables.fetch("UPDATE executions SET finished_at = now() WHERE id = $1", long)
    assert await whole_pass(tables) == []
    assert await left(tables) == {*ids, long}, "the age counts from the end"


async def test_what_an_open_dead_letter_needs_stays_until_it_is_settled(tables: Factory) -> None:
    needed, other = await over(tables, 91, 2, "failed")
    opened = await letter(tables, "open", 91, needed)
    settled = await letter(tables, "discarded", 91, other)
    young = await letter(tables, "requeued", 89)
    alone = await letter(tables, "open", 91)
    assert await whole_pass(tables) == [1]
    assert await retention.rest(tables.pool, KEPT) == 1
    assert await left(tables) == {needed}
    letters = {row["id"] for row in await tables.fetch("SELECT id FROM dead_letters")}
    assert letters == {opened, young, alone}
    assert settled not in letters
    await tables.fetch("UPDATE dead_letters SET status = 'discarded', resolved_at = now() WHERE id = $1", opened)
    assert await whole_pass(tables) == [1]


async def test_letters_that_an_operation_still_counts_stay(tables: Factory) -> None:
    (row,) = await tables.fetch(
        "INSERT INTO dead_operations (action, actor, status) VALUES ('requeue', 'ada', 'canary') RETURNING id"
    )
    counted = await letter(tables, "requeued", 91)
    await tables.fetch("UPDATE dead_letters SET operation_id = $2 WHERE id = $1", counted, row["id"])
    assert await retention.rest(tables.pool, KEPT) == 0
    await tables.fetch("UPDATE dead_operations SET status = 'done'")
    assert await retention.rest(tables.pool, KEPT) == 1


async def test_nothing_is_owed_any_more_about_what_is_gone(tables: Factory) -> None:
    (gone,) = await over(tables, 91)
    (kept,) = await over(tables, 1)
    for execution_id, days in ((gone, 91), (gone, 89), (kept, 91), (None, 91)):
        await tables.fetch(
            """INSERT INTO outbox (exchange, routing_key, message_type, body, mandatory, execution_id, created_at)
               VALUES ('', 'reply.acme', 'ExecutionFinished', '{}', true, $1, now() - make_interval(secs => $2))""",
            *(execution_id, days * DAY),
        )
    await retention.rest(tables.pool, KEPT)
    assert len(await tables.fetch("SELECT id FROM outbox")) == 4, "what is there is still to be told"
    await whole_pass(tables)
    await retention.rest(tables.pool, KEPT)
    rows = await tables.fetch("SELECT execution_id FROM outbox ORDER BY id")
    assert [row["execution_id"] for row in rows] == [gone, kept, None]


async def test_batches_are_small(tables: Factory) -> None:
    await over(tables, 91, 7)
    assert await whole_pass(tables, limit=3) == [3, 3, 1]
    await over(tables, 91, 5)
    assert await whole_pass(tables, rows=4) == [2, 2, 1], "each has two steps"
    (wide, *_) = await over(tables, 92, 1)
    await over(tables, 91, 2)
    await tables.fetch("UPDATE step_executions SET shards = 50 WHERE execution_id = $1 AND step = 'b'", wide)
    await tables.fetch(
        """INSERT INTO step_executions (execution_id, step, shard, epoch, status, stage)
           SELECT $1, 'b', n, 1, 'completed', 'work' FROM generate_series(1, 50) AS n""",
        wide,
    )
    assert await whole_pass(tables, rows=10) == [1, 2], "one that is larger than a batch goes by itself"
    assert await left(tables, "step_executions") == set()


async def test_what_somebody_works_with_is_left_for_later(tables: Factory) -> None:
    ids = await over(tables, 91, 3)
    async with held(tables, "SELECT 1 FROM executions WHERE id = $1 FOR UPDATE", ids[1]):
        assert await whole_pass(tables) == [2]
        assert await left(tables) == {ids[1]}
    assert await whole_pass(tables) == [1]


async def test_an_execution_that_is_opened_again_meanwhile_stays(tables: Factory) -> None:
    (execution_id,) = await over(tables, 91)
    await transitions.advance(
        state(tables), [facts.Reopened(execution_id, ("a",), "restart", keep=False, actor="ada", note="again")]
    )
    assert await whole_pass(tables) == []
    assert await left(tables) == {execution_id}


async def test_one_removes_at_a_time(tables: Factory) -> None:
    await over(tables, 91)
    await letter(tables, "discarded", 91)
    async with held(tables, "SELECT pg_advisory_xact_lock($1)", retention.LOCK):
        assert await retention.executions(tables.pool, KEPT, BEGINNING) == Removed(0, None)
        assert await retention.rest(tables.pool, KEPT) == 0
    assert await whole_pass(tables) == [1]
    assert await retention.rest(tables.pool, KEPT) == 1


async def test_two_at_once_remove_everything_once(tables: Factory) -> None:
    ids = await over(tables, 91, 60)
    removed: list[int] = []

    async def empty() -> bool:
        passes = await asyncio.gather(*(whole_pass(tables, limit=7) for _ in range(2)))
        removed.extend(number for batches in passes for number in batches)
        return not await left(tables)

    await eventually(empty, "all is removed")
    assert sum(removed) == len(ids)


async def test_a_submit_key_can_be_used_again_afterwards(tables: Factory) -> None:
    (execution_id,) = await over(tables, 91)
    (row,) = await tables.fetch("SELECT client_id, submit_key FROM executions WHERE id = $1", execution_id)
    pair = (row["client_id"], row["submit_key"])
    async with tables.pool.acquire() as connection:
        assert await jobs.submitted(connection, [pair])
        await whole_pass(tables)
        assert await jobs.submitted(connection, [pair]) == {}


async def partitions(tables: Factory) -> list[str]:
    rows = await tables.fetch("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'timeline'::regclass")
    return sorted(row[0] for row in rows)


async def months_ago(tables: Factory, number: int) -> str:
    """Makes the partition of a month that lies so far back, with a fact, and returns its name."""
    (row,) = await tables.fetch(
        """SELECT start, start + interval '1 month' AS finish
           FROM (SELECT date_trunc('month', now()) - make_interval(months => $1) AS start) AS month""",
        number,
    )
    name, start, finish = f"timeline_{row['start']:%Y_%m}", row["start"], row["finish"]
    await tables.fetch(f"CREATE TABLE {name} PARTITION OF timeline FOR VALUES FROM ('{start}') TO ('{finish}')")
    await tables.fetch(
        "INSERT INTO timeline (at, execution_id, kind) VALUES ($1, $2, 'retry')", start, identifiers.new()
    )
    return name


async def test_months_of_the_timeline_that_are_over_long_ago_go(tables: Factory) -> None:
    present = await partitions(tables)
    old = [await months_ago(tables, number) for number in (6, 5)]
    young = await months_ago(tables, 1)
    assert [await retention.month(tables.pool, KEPT) for _ in range(3)] == [*old, None]
    assert await partitions(tables) == sorted([*present, young])
    facts_left = await tables.fetch("SELECT tableoid::regclass::text AS name FROM timeline")
    assert [row["name"] for row in facts_left] == [young]


async def test_a_month_that_somebody_reads_is_left_for_later(tables: Factory) -> None:
    name = await months_ago(tables, 6)
    async with held(tables, "SELECT count(*) FROM timeline"):
        assert await retention.month(tables.pool, KEPT) is None
        assert name in await partitions(tables)
    assert await retention.month(tables.pool, KEPT) == name


async def test_old_facts_that_are_in_no_month_go(tables: Factory) -> None:
    for days in (400, 91, 80):
        await tables.fetch(
            "INSERT INTO timeline (at, execution_id, kind) VALUES (now() - make_interval(days => $1), $2, 'retry')",
            *(days, identifiers.new()),
        )
    await retention.rest(tables.pool, KEPT)
    assert len(await tables.fetch("SELECT 1 FROM timeline")) == 1


async def test_a_pass_of_the_coordinator_removes_all_that_is_old_and_nothing_for_ever(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        await templates.apply(connection, parse({"name": "plain", "steps": STEPS}))
        await filling.clients(connection, 4)
        await filling.executions(connection, "plain", "completed", 1200, of=4, days=(400, 91))
        await filling.executions(connection, "plain", "completed", 30, of=4, days=(89, 1))
        await filling.steps(connection, "completed", "completed")
    await letter(tables, "discarded", 91)
    month = await months_ago(tables, 6)
    await loop.remove(tables.pool, 0)
    assert len(await left(tables)) == 1230
    await loop.remove(tables.pool, 90)
    assert len(await left(tables)) == 30
    assert len(await tables.fetch("SELECT 1 FROM step_executions")) == 60
    assert await tables.fetch("SELECT 1 FROM dead_letters") == []
    assert month not in await partitions(tables)
