"""Language models in a running factory: settings reach the worker, money the ledger, and the template decides."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from contracts import messages
from infra import budgets
from tests import llm_server
from tests.factories import Client, Factory
from tests.integration import money

pytestmark = pytest.mark.timeout(300)

STORIES = 60


@contextlib.asynccontextmanager
async def asking(factory: Factory, on_budget: str = "degrade") -> AsyncIterator[tuple[llm_server.Server, Client]]:
    """A factory whose template ``told`` has stories told."""
    await factory.client()
    async with llm_server.serve() as server, factory.connect() as client:
        step = {"name": "a", "stage": "asking", "parameters": {"stories": str(STORIES)}, "deliver": ["json"]}
        await factory.template("told", [step], on_budget=on_budget)
        factory.coordinator()
        factory.worker(
            "asking",
            OPENAI_API_KEY=llm_server.KEY,
            OPENAI_BASE_URL=server.url,
            FACTORY_LLM_MODELS="tiny",
            FACTORY_LLM_PRICES=f"tiny={llm_server.PRICES}",
            FACTORY_LLM_THINKING_TOKENS="0",
            FACTORY_LLM_CONCURRENCY="2",
        )
        yield server, client


async def run(factory: Factory, client: Client, number: int, **job: Any) -> tuple[messages.ExecutionFinished, Any, int]:
    """How the job ended, the summary of its step, and what it spent."""
    await client.submit("told", **job)
    end: messages.ExecutionFinished = (await client.answered(messages.ExecutionFinished, number))[-1]
    async with factory.pool.acquire() as connection:
        account = await budgets.of_execution(connection, end.execution_id)
    assert account is not None
    assert (account.reserved, account.overrun) == (0, 0)
    (row,) = await factory.fetch("SELECT summary FROM step_executions WHERE execution_id = $1", end.execution_id)
    return end, row["summary"], account.spent


async def test_quality_decides_who_tells_money_how_much_and_the_template_what_happens_without(factory: Factory) -> None:
    async with asking(factory) as (server, client):
        end, summary, spent = await run(factory, client, 1, quality="basic")
        assert (end.status, summary["engine"].partition(" ")[0], spent) == ("completed", "local", 0)
        assert "quality 'basic' asks no model" in summary["closed"]
        assert server.calls == []

        end, summary, price = await run(factory, client, 2, quality="high")
        assert end.status == "completed"
        assert summary["engine"].startswith("language model over local")
        assert (summary["cost"], summary["closed"], summary["degraded"]) == (price, "", "")
        assert price == server.spent > 0

        end, summary, spent = await run(factory, client, 3, quality="high")
        assert (end.status, summary["cached"], spent) == ("completed", STORIES, 0)

        await factory.fetch("DELETE FROM shared.cache")
        end, summary, spent = await run(factory, client, 4, quality="high", budget=price // 2)
        assert end.status == "completed"
        assert 0 < spent == server.spent - price <= price // 2
        assert summary["cached"] > 0
        assert "the budget for paid calls is used up" in summary["degraded"]
    await money.sums_hold(factory)


async def test_a_stopping_template_ends_where_the_money_does(factory: Factory) -> None:
    async with asking(factory, "stop") as (server, client):
        end, _, spent = await run(factory, client, 1, quality="high", budget=5000)
    assert end.status == "failed"
    assert "the execution has" in end.explanation
    assert 0 < spent == server.spent <= 5000
