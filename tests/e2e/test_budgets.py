"""Paid calls in a running factory: they are counted where they are made, and stop where the money does."""

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from contracts import encoding, messages, steering
from infra import budgets
from tests.e2e.test_cli import Cli
from tests.factories import Client, Factory, eventually
from tests.integration import money
from tests.integration.money import CENT

LEASES = {"FACTORY_LEASE_SECONDS": "10", "FACTORY_HEARTBEAT_SECONDS": "1", "FACTORY_SWEEP_SECONDS": "0.5"}
pytestmark = pytest.mark.timeout(300)


@dataclasses.dataclass
class Service:
    """Somebody who answers for money and knows how often he was asked."""

    address: str = ""
    cost: int = 3 * CENT
    asked: list[str] = dataclasses.field(default_factory=list)
    open: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        """What was asked, once the service is open."""
        self.asked.append(request.query["key"])
        await self.open.wait()
        return web.json_response({"cost": self.cost})


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Service]:
    service = Service()
    service.open.set()
    application = web.Application()
    application.router.add_get("/", service.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port, *_ = runner.addresses[0]
        service.address = f"{host}:{port}"
        yield service
    finally:
        service.open.set()
        await runner.cleanup()


@contextlib.asynccontextmanager
async def paying(factory: Factory, on_budget: str = "stop") -> AsyncIterator[tuple[Service, Client]]:
    """A factory whose template ``paid`` makes two calls, one after the other, of at most 5 cents each."""
    factory.environment.update(LEASES)
    await factory.client()
    async with serving() as service, factory.connect() as client:
        parameters = {"service": f"'http://{service.address}/'", "amount": str(5 * CENT)}
        step = {"stage": "paid_effect", "parameters": parameters, "deliver": ["json"]}
        steps = [{"name": "first", **step}, {"name": "second", "depends_on": ["first"], **step}]
        await factory.template("paid", steps, on_budget=on_budget)
        factory.coordinator()
        factory.worker("paid_effect", FACTORY_FETCH_ALLOW=service.address)
        yield service, client


async def finished(client: Client) -> messages.ExecutionFinished:
    found: list[messages.ExecutionFinished] = await client.answered(messages.ExecutionFinished)
    return found[0]


async def account(factory: Factory, execution_id: uuid.UUID) -> budgets.ExecutionAccount:
    async with factory.pool.acquire() as connection:
        found = await budgets.of_execution(connection, execution_id)
    assert found is not None
    return found


async def kinds(factory: Factory, execution_id: uuid.UUID) -> list[tuple[str, str, bool]]:
    async with factory.pool.acquire() as connection:
        return [(e.step, e.kind, e.expired) for e in await budgets.entries(connection, execution_id, 100)]


async def engines(factory: Factory) -> dict[str, str | None]:
    rows = await factory.fetch("SELECT step, summary FROM step_executions")
    return {row["step"]: (row["summary"] or {}).get("engine") for row in rows}


async def test_what_calls_cost_is_on_record_and_the_rest_is_left(factory: Factory) -> None:
    async with paying(factory) as (service, client):
        await client.submit("paid", budget=10 * CENT)
        end = await finished(client)
    assert end.status == "completed"
    assert len(service.asked) == 2
    found = await account(factory, end.execution_id)
    assert (found.reserved, found.spent, found.overrun) == (0, 6 * CENT, 0)
    assert await kinds(factory, end.execution_id) == [
        (step, kind, False) for step in ("first", "second") for kind in ("reserve", "post")
    ]
    await money.sums_hold(factory)


async def test_without_money_a_degrading_template_goes_on_without_paid_calls(factory: Factory) -> None:
    async with paying(factory, "degrade") as (service, client):
        await client.submit("paid", budget=7 * CENT)
        end = await finished(client)
    assert end.status == "completed"
    assert await engines(factory) == {"first": "paid", "second": "local"}
    assert len(service.asked) == 1
    assert (await account(factory, end.execution_id)).spent == 3 * CENT


async def test_without_money_a_stopping_template_ends_with_what_it_has(factory: Factory) -> None:
    async with paying(factory, "stop") as (service, client):
        await client.submit("paid", budget=7 * CENT)
        end = await finished(client)
    assert end.status in ("partial", "failed")
    assert "the execution has $0.04 left" in end.explanation
    assert len(service.asked) == 1
    (made,) = await factory.fetch("SELECT step FROM deliverables")
    assert made["step"] == "first", "what was paid for is handed over"


async def test_without_money_a_pausing_template_waits_until_it_is_given_some_and_resumed(factory: Factory) -> None:
    async with paying(factory, "pause") as (service, client):
        await client.submit("paid", budget=7 * CENT)
        (accepted,) = await client.answered(messages.JobAccepted)
        execution_id = accepted.execution_id

        async def paused() -> bool:
            found = await account(factory, execution_id)
            return (found.status, found.pause_reason) == ("paused", "budget")

        await eventually(paused, "the execution is paused for its budget")
        assert len(service.asked) == 1
        async with factory.pool.acquire() as connection:
            await budgets.set_execution(connection, execution_id, 8 * CENT, "kay")
        resume = steering.SteerExecution(client="acme", execution_id=execution_id, action="resume")
        await client.publish(encoding.encode(resume), type_name="SteerExecution")
        end = await finished(client)
    assert end.status == "completed"
    assert await engines(factory) == {"first": "paid", "second": "paid"}
    assert len(service.asked) == 2
    assert (await account(factory, execution_id)).spent == 6 * CENT


async def test_a_client_whose_month_is_used_up_is_told_so_and_repeats_are_answered_as_before(factory: Factory) -> None:
    async with paying(factory) as (service, client):
        async with factory.pool.acquire() as connection:
            await budgets.set_client(connection, "acme", 10 * CENT)
        service.cost = 5 * CENT
        key = await client.submit("paid")
        assert (await finished(client)).status == "completed"
        await client.submit("paid")
        (rejected,) = await client.answered(messages.JobRejected)
        assert rejected.reason == "over_budget"
        assert "field 'client' is 'acme', which has spent $0.10 of its $0.10 for 20" in rejected.explanation
        assert "factory budgets set acme USD" in rejected.explanation
        await client.submit("paid", key=key)
        first, again = await client.answered(messages.JobAccepted, 2)
        assert again == first
    assert len(service.asked) == 2


async def test_money_is_shown_and_set_on_the_command_line(factory: Factory, tmp_path: Path) -> None:
    cli = Cli(factory, tmp_path / "home")
    async with paying(factory) as (_, client):
        await client.submit("paid", budget=10 * CENT)
        end = await finished(client)
    of_execution = str(end.execution_id)
    said = await cli.run("budgets", "set", "acme", "1.5")
    assert "$0.06 spent, $0.00 reserved, $1.44 left of $1.50" in said
    shown = await cli.json("budgets", "show", "acme")
    assert (shown["client"]["budget"], shown["client"]["spent"], shown["months"][0]["spent"]) == (
        150 * CENT,
        6 * CENT,
        6 * CENT,
    )
    assert (await cli.json("budgets", "set", "acme", "none"))["budget"] is None
    assert "$0.19 left of $0.25" in await cli.run("executions", "budget", of_execution, "0.25")
    shown = await cli.json("budgets", "show", of_execution)
    assert (shown["execution"]["budget"], shown["execution"]["spent"]) == (25 * CENT, 6 * CENT)
    assert [entry["kind"] for entry in shown["ledger"]] == ["reserve", "post", "reserve", "post"]
    assert "call 1" in await cli.run("budgets", "show", of_execution)
    nobody = str(uuid.uuid4())
    assert f"there is no client and no execution '{nobody}'" in await cli.run("budgets", "show", nobody, status=1)
    assert "there is no client 'nobody'" in await cli.run("budgets", "set", "nobody", "5", status=1)
    assert f"there is no execution {nobody}" in await cli.run("executions", "budget", nobody, "5", status=1)


async def test_a_call_whose_worker_died_counts_as_spent(factory: Factory) -> None:
    async with paying(factory) as (service, client):
        service.open.clear()
        await client.submit("paid", budget=20 * CENT)

        async def asked() -> bool:
            return len(service.asked) == 1

        await eventually(asked, "the call is made")
        factory.processes[-1].kill()
        service.open.set()
        factory.worker("paid_effect", FACTORY_FETCH_ALLOW=service.address)
        end = await finished(client)
        assert end.status == "completed"
        assert len(service.asked) == 3
        assert service.asked[0] == service.asked[1], "the service can tell that it is the same call"

        async def closed() -> bool:
            return (await account(factory, end.execution_id)).reserved == 0

        await eventually(closed, "nothing is left open")
    assert ("first", "post", True) in await kinds(factory, end.execution_id)
    assert (await account(factory, end.execution_id)).spent == (5 + 3 + 3) * CENT
    await money.sums_hold(factory)


async def test_a_call_that_returns_after_its_reservation_expired_is_an_overrun(factory: Factory) -> None:
    async with paying(factory) as (service, client):
        service.open.clear()
        service.cost = 8 * CENT
        await client.submit("paid", budget=20 * CENT)

        async def expired() -> bool:
            await factory.fetch("UPDATE shared.budget_open SET expires_at = '-infinity'")
            return bool(await factory.fetch("SELECT 1 FROM shared.budget_ledger WHERE expired"))

        await eventually(expired, "the coordinator closes the reservation")
        service.open.set()
        end = await finished(client)
    assert end.status == "completed"
    assert (await kinds(factory, end.execution_id))[:3] == [
        ("first", "reserve", False),
        ("first", "post", True),
        ("first", "overrun", False),
    ]
    found = await account(factory, end.execution_id)
    assert (found.reserved, found.spent, found.overrun) == (0, 16 * CENT, 6 * CENT)
    facts = await factory.fetch("SELECT kind FROM timeline WHERE kind LIKE 'budget%' ORDER BY at")
    assert [row["kind"] for row in facts] == ["budget_expired", "budget_overrun", "budget_overrun"]
    await money.sums_hold(factory)
