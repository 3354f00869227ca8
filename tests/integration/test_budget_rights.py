"""What workers may do with money, and what nobody may."""

import uuid

import asyncpg
import pytest

from infra import budgets
from tests.factories import Factory
from tests.integration import money
from tests.integration.money import CENT

FORBIDDEN = (
    *(
        statement.format(f"shared.budget_{table}")
        for table in ("ledger", "months", "executions", "open")
        for statement in ("SELECT * FROM {}", "DELETE FROM {}", "TRUNCATE {}", "INSERT INTO {} DEFAULT VALUES")
    ),
    "UPDATE shared.budget_months SET spent = 0",
    "UPDATE shared.budget_ledger SET amount = 0",
    "SELECT shared.budget_expire(gen_random_uuid())",
    "SELECT shared.budget_lock('acme', '2026-01-01', gen_random_uuid())",
    "SELECT shared.budget_find(gen_random_uuid())",
    "SELECT shared.budget_enter(NULL, 'post', 0, 0, 0)",
    "SELECT budget FROM public.executions",
    "SELECT monthly_budget FROM public.clients",
    "CREATE TABLE shared.mine (x int)",
    "CREATE FUNCTION shared.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
)


async def test_a_worker_reads_and_writes_no_money_but_through_its_three_functions(tables: Factory) -> None:
    key = await money.running(tables)
    async with money.workers(tables) as pool:
        await money.purse(pool, key).reserve(CENT, "a call")
    connection = await asyncpg.connect(tables.settings.worker_database_url)
    try:
        for statement in FORBIDDEN:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()
    granted = await tables.fetch(
        """SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
           WHERE n.nspname = 'shared' AND p.proname LIKE 'budget%'
               AND has_function_privilege('factory_worker', p.oid, 'EXECUTE') ORDER BY 1"""
    )
    assert [r["proname"] for r in granted] == ["budget_post", "budget_reserve", "budget_void"]


async def test_the_functions_take_nothing_from_the_search_path_of_their_caller(tables: Factory) -> None:
    key = await money.running(tables, budget=CENT)
    async with money.workers(tables) as pool, pool.acquire() as connection:
        await connection.execute(
            """CREATE TEMP TABLE clients AS SELECT 'acme' AS id, NULL::bigint AS monthly_budget;
               CREATE TEMP TABLE executions AS SELECT NULL::uuid AS id, 'acme' AS client_id, NULL::bigint AS budget;
               CREATE FUNCTION pg_temp.greater(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT false';
               CREATE OPERATOR pg_temp.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = pg_temp.greater);
               SET search_path = pg_temp, pg_catalog"""
        )
        task = (key.execution_id, key.epoch, key.step, key.shard, key.attempt)
        asked = (uuid.uuid4(), "acme", *task, "a call", 2 * CENT, 60.0)
        assert await connection.fetchval(budgets.SQL["reserve"], *asked) == "execution"
    loose = await tables.fetch(
        """SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
           WHERE n.nspname = 'shared' AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY(proconfig), false)"""
    )
    assert loose == []


async def test_the_ledger_only_grows_whoever_asks(tables: Factory) -> None:
    key = await money.running(tables)
    async with money.workers(tables) as pool:
        await money.purse(pool, key).reserve(CENT, "a call")
    for statement in (
        "UPDATE shared.budget_ledger SET amount = 1",
        "DELETE FROM shared.budget_ledger",
        "TRUNCATE shared.budget_ledger",
    ):
        with pytest.raises(asyncpg.RaiseError, match="neither changed nor removed"):
            await tables.fetch(statement)
