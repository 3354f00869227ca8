"""Figures over a window of time are those that can be worked out by hand, and a reader sees nothing but them."""

import asyncio

import asyncpg
import pytest

from contracts.tiers import Tier
from infra import settings, statistics
from infra.settings import Settings
from infra.statistics import Window
from tests.factories import Factory
from tests.integration import figures
from tests.integration.conftest import renamed
from tests.integration.figures import HOUR

WEEK = Window(7 * 24 * HOUR)
CENT = 10_000


async def test_executions_by_template_and_all_together(tables: Factory) -> None:
    await figures.prepare(tables, ("acme", Tier.BASIC), ("zeta", Tier.PREMIUM))
    for seconds, queued in ((10.0, 1.0), (20.0, 2.0), (30.0, 3.0)):
        await figures.execution(tables, seconds=seconds, queued=queued)
    await figures.execution(tables, status="failed", seconds=500.0, queued=4.0)
    await figures.execution(tables, status="cancelled", seconds=900.0, queued=5.0)
    await figures.execution(tables, "weekly", "zeta", Tier.PREMIUM, "partial", seconds=70.0)
    await figures.execution(tables, ago=8 * 24 * HOUR)
    await figures.execution(tables, status="running", ago=0.0)
    async with tables.pool.acquire() as connection:
        daily, weekly, everything = await statistics.executions(connection, WEEK)
        assert (daily.template, weekly.template, everything.template) == ("daily", "weekly", None)
        assert (daily.finished, daily.completed, daily.partial, daily.failed, daily.cancelled) == (5, 3, 0, 1, 1)
        assert daily.success_rate == 0.75
        assert (daily.p50, daily.p95) == (20.0, 29.0)
        assert daily.queued_p50 == 3.0
        assert daily.queued_p95 == pytest.approx(4.8)
        assert (weekly.partial, weekly.success_rate, weekly.p50) == (1, 1.0, 70.0)
        assert (everything.finished, everything.success_rate) == (6, 0.8)
        assert everything.p50 == 25.0
        assert everything.p95 == pytest.approx(64.0)
        (only, total) = await statistics.executions(connection, Window(WEEK.seconds, tier=Tier.PREMIUM))
        assert (only.template, total.finished) == ("weekly", 1)
        assert await statistics.executions(connection, Window(WEEK.seconds, client="nobody")) == []
        (lost, _) = await statistics.executions(connection, Window(10 * WEEK.seconds, template="daily"))
        assert lost.finished == 6


async def test_stages_by_tier_with_what_was_tried_again(tables: Factory) -> None:
    await figures.prepare(tables, ("acme", Tier.BASIC))
    one, other = await figures.execution(tables), await figures.execution(tables, "weekly", tier=Tier.ENTERPRISE)
    await figures.step(tables, one, run=2.0, waited=1.0, attempt=3)
    await figures.fact(tables, one, "retry", error_class="transient", worker="worker-1")
    await figures.fact(tables, one, "lease_lapsed", worker="worker-2")
    await figures.step(tables, one, "b", stage="other", shards=3, run=9.0)
    for shard, run in enumerate((1.0, 2.0, 4.0), 1):
        await figures.step(tables, one, "b", stage="other", shard=shard, run=run, waited=shard)
    await figures.step(tables, one, "b", stage="other", shard=4, status="failed", error_class="permanent", waited=4.0)
    await figures.step(tables, other, run=5.0, waited=0.0)
    async with tables.pool.acquire() as connection:
        shards, high, low = await statistics.stages(connection, WEEK)
        assert [(f.stage, f.tier) for f in (shards, high, low)] == [
            ("other", Tier.BASIC),
            ("work", Tier.ENTERPRISE),
            ("work", Tier.BASIC),
        ]
        assert (shards.attempts, shards.completed, shards.failed, shards.retries) == (4, 3, 1, 0)
        assert shards.run_p50 == 2.0
        assert shards.run_p95 == pytest.approx(3.8)
        assert (shards.waited_p50, shards.failure_rate, shards.failures) == (2.5, 0.25, {"permanent": 1})
        assert (low.attempts, low.completed, low.retries) == (3, 1, 2)
        assert low.failures == {"transient": 1, "lease_lapsed": 1}
        assert low.failure_rate == pytest.approx(2 / 3)
        assert (low.run_p50, low.waited_p50) == (2.0, 1.0)
        assert (high.attempts, high.run_p95, high.failure_rate, high.failures) == (1, 5.0, 0.0, {})
        (found,) = await statistics.stages(connection, Window(HOUR, template="daily", stage="work"))
        assert found == low
        assert await statistics.stages(connection, Window(30.0)) == []


async def test_a_failure_counts_for_the_stage_that_failed_though_another_has_the_step(tables: Factory) -> None:
    await figures.prepare(tables, ("acme", Tier.BASIC))
    one = await figures.execution(tables)
    await figures.step(tables, one, stage="spare", attempt=3)
    await figures.fact(tables, one, "retry", error_class="transient", stage="work", worker="worker-1")
    await figures.fact(tables, one, "fallback", error_class="permanent", stage="work", fallback="spare")
    await figures.fact(tables, one, "lease_lapsed")
    async with tables.pool.acquire() as connection:
        spare, work = await statistics.stages(connection, WEEK)
        assert (spare.stage, spare.completed, spare.failures) == ("spare", 1, {"lease_lapsed": 1})
        assert (work.stage, work.attempts, work.failures) == ("work", 2, {"transient": 1, "permanent": 1})
        (only,) = await statistics.stages(connection, Window(HOUR, stage="work"))
        assert only == work


async def test_a_worker_that_lies_about_its_time_spoils_no_figure(tables: Factory) -> None:
    await figures.prepare(tables, ("acme", Tier.BASIC))
    one = await figures.execution(tables)
    await figures.step(tables, one, run=2.0, waited=1.0)
    for lie, run in ((1e300, 3.0), (-7.0, 0.0)):
        await tables.fetch("UPDATE step_executions SET metrics = jsonb_build_object('seconds', $1::float8)", lie)
        async with tables.pool.acquire() as connection:
            (found,) = await statistics.stages(connection, WEEK)
        assert found.run_p50 == run
        assert found.waited_p50 == 3.0 - run


async def test_costs_by_day_and_client_stage_or_purpose(tables: Factory) -> None:
    await figures.prepare(tables, ("acme", Tier.BASIC), ("zeta", Tier.PREMIUM))
    one, gone = await figures.execution(tables), await figures.execution(tables, client="zeta", tier=Tier.PREMIUM)
    await figures.step(tables, one)
    today, before = "date_trunc('day', now(), 'UTC')", "date_trunc('day', now(), 'UTC') - interval '1 second'"
    await figures.spend(tables, one, today, 3 * CENT)
    await figures.spend(tables, one, today, CENT, purpose="titles")
    await figures.spend(tables, one, today, CENT, kind="overrun")
    await figures.spend(tables, one, today, 0, kind="void")
    await figures.spend(tables, one, before, 7 * CENT)
    await figures.spend(tables, gone, today, 2 * CENT, client="zeta")
    await tables.fetch("DELETE FROM executions WHERE id = $1", gone)
    async with tables.pool.acquire() as connection:
        found = await statistics.costs(connection, WEEK, "client")
        assert [(c.client, c.calls, c.spent, c.overrun) for c in found] == [
            ("acme", 2, 5 * CENT, CENT),
            ("zeta", 1, 2 * CENT, 0),
            ("acme", 1, 7 * CENT, 0),
        ]
        assert found[0].day == found[1].day > found[2].day
        by_stage = await statistics.costs(connection, WEEK, "stage")
        assert [(c.client, c.stage) for c in by_stage] == [("acme", "work"), ("zeta", None), ("acme", "work")]
        by_purpose = await statistics.costs(connection, Window(WEEK.seconds, client="acme"), "purpose")
        assert [(c.purpose, c.spent) for c in by_purpose] == [
            ("summary", 4 * CENT),
            ("titles", CENT),
            ("summary", 7 * CENT),
        ]
        (premium,) = await statistics.costs(connection, Window(WEEK.seconds, tier=Tier.PREMIUM), "client")
        assert (premium.client, premium.spent) == ("zeta", 2 * CENT)


async def test_a_cost_is_of_the_tier_in_which_it_was_made(tables: Factory) -> None:
    await figures.prepare(tables, ("acme", Tier.BASIC))
    kept, gone = await figures.execution(tables), await figures.execution(tables)
    await figures.spend(tables, kept, "now()", CENT)
    await figures.spend(tables, gone, "now()", 3 * CENT)
    await tables.fetch("UPDATE clients SET tier = 'premium'")
    await tables.fetch("DELETE FROM executions WHERE id = $1", gone)
    async with tables.pool.acquire() as connection:
        (made,) = await statistics.costs(connection, Window(HOUR, tier=Tier.BASIC), "client")
        (left,) = await statistics.costs(connection, Window(HOUR, tier=Tier.PREMIUM), "client")
    assert (made.spent, left.spent) == (CENT, 3 * CENT)


async def test_workers_with_what_they_came_to(tables: Factory) -> None:
    await figures.prepare(tables, ("acme", Tier.BASIC))
    one, other = await figures.execution(tables), await figures.execution(tables)
    await tables.fetch(
        """INSERT INTO worker_instances (id, stages, capacity, in_flight, sequence, last_seen, started_at, stopped)
           VALUES
           ('worker-1', '{work,other}', 8, 2, 1, now() - interval '1 second', now() - interval '1 hour', false),
           ('worker-2', '{work}', 4, 0, 1, now() - interval '5 minutes', now() - interval '2 hours', true),
           ('worker-old', '{work}', 4, 0, 1, now() - interval '20 hours', now() - interval '2 days', false)"""
    )
    await figures.step(tables, one)
    await figures.step(tables, other, status="failed", error_class="permanent")
    await figures.step(tables, one, "b", stage="other", worker="worker-forgotten")
    await figures.fact(tables, one, "retry", worker="worker-1", error_class="transient")
    await figures.fact(tables, other, "lease_lapsed", worker="worker-2")
    async with tables.pool.acquire() as connection:
        first, second, forgotten = await statistics.workers(connection, Window(HOUR))
        assert (first.id, first.stages, first.capacity, first.in_flight) == ("worker-1", ("work", "other"), 8, 2)
        assert (first.completed, first.failed, first.lost) == (1, 2, 0)
        assert first.failure_rate == pytest.approx(2 / 3)
        assert first.silent == pytest.approx(1.0, abs=0.9)
        assert (second.id, second.lost, second.failure_rate, second.stopped) == ("worker-2", 1, None, True)
        assert (forgotten.id, forgotten.stages, forgotten.capacity) == ("worker-forgotten", ("other",), None)
        assert [w.id for w in await statistics.workers(connection, Window(HOUR, stage="other"))] == [
            "worker-1",
            "worker-forgotten",
        ]
        await tables.fetch(
            """INSERT INTO worker_instances (id, stages, capacity, in_flight, sequence, last_seen, started_at, stopped)
               VALUES ('worker-new', '{work}', 8, 2, 1, now(), now() - interval '1 minute', false)"""
        )
        assert [w.id for w in await statistics.workers(connection, Window(24 * HOUR))] == [
            *("worker-new", "worker-1", "worker-2", "worker-old", "worker-forgotten"),
        ]


VIEWS = ("budgets", "costs", "dead_letters", "executions", "retries", "steps", "workers")
READ = "SELECT * FROM reporting.{}"
FORBIDDEN = (
    "SELECT * FROM public.executions",
    "SELECT * FROM public.step_executions",
    "SELECT * FROM public.clients",
    "SELECT * FROM public.timeline",
    "SELECT * FROM public.dead_letters",
    "SELECT * FROM shared.budget_ledger",
    "SELECT * FROM shared.cache",
    "SELECT shared.budget_post(gen_random_uuid(), 1)",
    "SELECT public.drop_timeline_partition(now())",
    "UPDATE reporting.executions SET status = 'failed'",
    "DELETE FROM reporting.workers",
    "INSERT INTO reporting.dead_letters (kind) VALUES ('step')",
    "CREATE TABLE reporting.mine (x int)",
    "CREATE TABLE public.mine (x int)",
    "CREATE VIEW reporting.mine AS SELECT 1",
)


def reader(stack: Settings, tables: Factory) -> str:
    """The address of the reader in the database of a test."""
    address = settings.read_stack(stack.home)["FACTORY_READER_DATABASE_URL"]
    return renamed(address, tables.settings.database_url.rpartition("/")[2])


async def test_a_reader_has_the_views_and_nothing_else(stack: Settings, tables: Factory) -> None:
    await figures.prepare(tables, ("acme", Tier.BASIC))
    one = await figures.execution(tables)
    await figures.step(tables, one, status="failed", error_class="permanent")
    await figures.fact(tables, one, "retry", error_class="transient", error="secret-fact")
    await figures.spend(tables, one, "now()", CENT)
    connection = await asyncpg.connect(reader(stack, tables))
    try:
        found = {view: await connection.fetch(READ.format(view)) for view in VIEWS}
        assert {view for view in VIEWS if found[view]} == {"costs", "executions", "retries", "steps"}
        assert "secret" not in str({view: [dict(row) for row in rows] for view, rows in found.items()})
        assert await connection.fetchval("SHOW statement_timeout") == "30s"
        for statement in FORBIDDEN:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()
    granted = await tables.fetch(
        """SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'v', 'm', 'p', 'S')
               AND has_schema_privilege('factory_reader', n.oid, 'USAGE')
               AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege('factory_reader', c.oid, 'USAGE')
                        ELSE has_table_privilege('factory_reader', c.oid, 'SELECT') END
           ORDER BY 1"""
    )
    assert [row["name"] for row in granted] == [f"reporting.{view}" for view in VIEWS]


async def test_workers_read_no_figures(tables: Factory) -> None:
    connection = await asyncpg.connect(tables.settings.worker_database_url)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SELECT * FROM reporting.executions")
    finally:
        await connection.close()


async def test_figures_are_read_while_everything_changes(tables: Factory) -> None:
    await figures.prepare(tables, ("acme", Tier.BASIC))
    async with tables.pool.acquire() as writer:
        transaction = writer.transaction()
        await transaction.start()
        one = await figures.execution(tables)
        await writer.execute("SELECT * FROM executions WHERE id = $1 FOR UPDATE", one)
        async with tables.pool.acquire() as connection, asyncio.timeout(5):
            assert len(await statistics.executions(connection, WEEK)) == 2
        await transaction.rollback()
