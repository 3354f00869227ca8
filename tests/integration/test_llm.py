"""Asking models over loopback with the real ledger: every way in which a call ends has its outcome and its price."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from consumers.analysis.llm import words
from contracts import errors, llm, messages
from infra import database, registries
from infra.llm import asking, requests
from tests import llm_server, llm_tools
from tests.factories import Factory, eventually
from tests.integration import money
from tests.integration.money import CENT


@pytest_asyncio.fixture
async def server() -> AsyncIterator[llm_server.Server]:
    async with llm_server.serve() as running:
        yield running


@pytest_asyncio.fixture
async def pool(tables: Factory) -> AsyncIterator[database.Pool]:
    async with money.workers(tables, size=8) as found:
        yield found


@pytest_asyncio.fixture
async def key(tables: Factory) -> messages.TaskKey:
    return await money.running(tables)


@pytest_asyncio.fixture
async def service(pool: database.Pool, server: llm_server.Server) -> AsyncIterator[asking.Service]:
    async with llm_tools.connected(pool, server) as found:
        yield found


def question(phrase: str = "battery recycling") -> llm.Question[words.Words]:
    return words.question(phrase)


def reserved(phrase: str = "battery recycling") -> int:
    """What is reserved for the first call that asks for the words of a topic."""
    request = requests.of(question(phrase), 0)
    price = asking.priced(llm_tools.chosen(llm_server.Server()))["tiny"]
    return price.most(request.most_input_tokens, request.most_tokens)


def counted(model: str, outcome: str) -> float:
    labels = {"model": model, "outcome": outcome}
    return registries.REGISTRIES["worker"].get_sample_value("factory_llm_calls_total", labels) or 0.0


async def test_an_answer_is_paid_once_and_kept(
    tables: Factory, pool: database.Pool, service: asking.Service, server: llm_server.Server, key: messages.TaskKey
) -> None:
    first = llm_tools.asker(service, pool, key)
    found = await first.ask(question())
    assert found.words[0] == "battery research"
    (use,) = first.used()
    assert (use.model, use.prompts, use.calls, use.cached) == ("tiny", ("words/1",), 1, 0)
    assert use.cost == server.spent > 0
    assert await llm_tools.spent(tables, key) == (server.spent, 0)
    again = llm_tools.asker(service, pool, key)
    assert await again.ask(question()) == found
    assert [(use.calls, use.cached, use.cost) for use in again.used()] == [(0, 1, 0)]
    assert len(server.calls) == 1
    await again.ask(question("battery recycling in Norway"))
    assert len(server.calls) == 2, "another question is asked"
    assert not server.wrong_requests
    await money.sums_hold(tables)


@pytest.mark.parametrize("kind", ["truncated", "schema", "chatty"])
async def test_an_unusable_answer_is_mended_once_and_both_are_paid(
    tables: Factory, pool: database.Pool, service: asking.Service, server: llm_server.Server, key: messages.TaskKey,
    kind: str,
) -> None:  # fmt: skip
    server.faults.append(kind)
    asker = llm_tools.asker(service, pool, key)
    assert (await asker.ask(question())).words
    assert [call.kind for call in server.calls] == [kind, "answer"]
    assert server.calls[0].cost > 0
    assert await llm_tools.spent(tables, key) == (server.spent, 0)
    assert [(use.model, use.calls, use.cost) for use in asker.used()] == [("tiny", 2, server.spent)]


async def test_after_one_mending_the_next_model_is_asked(
    tables: Factory, pool: database.Pool, service: asking.Service, server: llm_server.Server, key: messages.TaskKey
) -> None:
    server.faults_of_model = {"tiny": "schema"}
    await llm_tools.asker(service, pool, key).ask(question())
    assert [(call.model, call.kind) for call in server.calls] == [
        ("tiny", "schema"),
        ("tiny", "schema"),
        ("other", "answer"),
    ]
    assert await llm_tools.spent(tables, key) == (server.spent, 0)
    again = llm_tools.asker(service, pool, key)
    await again.ask(question())
    assert len(server.calls) == 3, "what the second model answered is kept although the first is preferred"


@pytest.mark.parametrize(
    ("kind", "calls", "reason"),
    [
        ("refusal", 1, "declined to answer"),
        ("schema", 2, "could not be used"),
        ("rejected", 1, "refuses the call \\(status 400\\)"),
        ("quota", 1, "refuses the call \\(status 429\\)"),
        ("failed", 1, "failed \\(status 500\\)"),
        ("half", 1, "connection broke"),
        ("garbage", 1, "not one of the protocol"),
        ("limited", 3, "takes no more calls"),
    ],
)
async def test_a_model_that_gives_nothing_usable_is_left_for_the_next_and_the_last_is_an_error(
    tables: Factory, pool: database.Pool, service: asking.Service, server: llm_server.Server, key: messages.TaskKey,
    kind: str, calls: int, reason: str,
) -> None:  # fmt: skip
    server.fault_of = lambda number, again: kind
    with pytest.raises(llm.LlmError, match=f"no model gave a usable answer.*tiny: .*{reason}.*other: .*{reason}"):
        await llm_tools.asker(service, pool, key).ask(question())
    assert [call.model for call in server.calls] == ["tiny"] * calls + ["other"] * calls
    told, open_ = await llm_tools.spent(tables, key)
    assert told == server.cost_of(llm_server.TOLD), "what the service counted"
    lost = server.kinds()[kind] if kind in llm_server.LOST else 0
    assert open_ == lost * reserved(), "of what nobody knows, all that was reserved"
    await money.sums_hold(tables)


async def test_a_service_that_hangs_is_left_in_time_and_what_it_may_have_done_counts(
    tables: Factory, pool: database.Pool, server: llm_server.Server, key: messages.TaskKey
) -> None:
    server.faults.append("hang")
    async with llm_tools.connected(pool, server, seconds=0.5) as service:
        asker = llm_tools.asker(service, pool, key)
        await asker.ask(question())
    assert [(call.model, call.kind) for call in server.calls] == [("tiny", "hang"), ("other", "answer")]
    assert await llm_tools.spent(tables, key) == (server.calls[1].cost, reserved())
    assert [use.cost for use in asker.used()] == [reserved(), server.calls[1].cost]


async def test_a_service_that_cannot_be_reached_costs_nothing(
    tables: Factory, pool: database.Pool, server: llm_server.Server, key: messages.TaskKey
) -> None:
    async with llm_tools.connected(pool, server, url="http://127.0.0.1:1/v1") as service:
        with pytest.raises(llm.LlmError, match="tiny: it cannot be reached"):
            await llm_tools.asker(service, pool, key).ask(question())
    assert await llm_tools.spent(tables, key) == (0, 0)


async def test_a_redirect_is_not_followed_with_the_key(
    tables: Factory, pool: database.Pool, server: llm_server.Server, key: messages.TaskKey
) -> None:
    async with llm_tools.connected(pool, server, url=server.url.replace("/v1", "/moved")) as service:
        with pytest.raises(llm.LlmError, match="status 307"):
            await llm_tools.asker(service, pool, key).ask(question())
    assert server.calls == []
    assert await llm_tools.spent(tables, key) == (0, 0)


@pytest.mark.parametrize("kind", ["limited", "overloaded"])
async def test_a_model_that_asks_to_be_left_alone_is_asked_again_afterwards_and_no_other(
    tables: Factory, pool: database.Pool, service: asking.Service, server: llm_server.Server, key: messages.TaskKey,
    kind: str,
) -> None:  # fmt: skip
    server.retry_after = "1"
    server.faults.append(kind)
    await llm_tools.asker(service, pool, key).ask(question())
    assert [(call.model, call.kind) for call in server.calls] == [("tiny", kind), ("tiny", "answer")]
    assert await llm_tools.spent(tables, key) == (server.spent, 0)


async def test_all_processes_leave_a_model_alone_that_asked_one_of_them_and_ask_the_next(
    tables: Factory, pool: database.Pool, service: asking.Service, server: llm_server.Server, key: messages.TaskKey
) -> None:
    server.retry_after = "500"
    server.faults.append("limited")
    await llm_tools.asker(service, pool, key).ask(question())
    async with llm_tools.connected(pool, server) as another:
        await llm_tools.asker(another, pool, key).ask(question("beekeeping"))
    assert [(call.model, call.kind) for call in server.calls] == [
        ("tiny", "limited"),
        ("other", "answer"),
        ("other", "answer"),
    ]
    async with llm_tools.connected(pool, server, models=("tiny",)) as lone:
        with pytest.raises(llm.LlmError, match=r"tiny: it takes no more calls for \d+ s"):
            await llm_tools.asker(lone, pool, key).ask(question("gardening"))


async def test_a_wrong_key_is_told_and_costs_nothing(
    tables: Factory, pool: database.Pool, server: llm_server.Server, key: messages.TaskKey
) -> None:
    async with llm_tools.connected(pool, server, key="another") as service:
        with pytest.raises(llm.LlmError, match="status 401"):
            await llm_tools.asker(service, pool, key).ask(question())
    assert await llm_tools.spent(tables, key) == (0, 0)


async def test_money_that_does_not_suffice_is_told_before_anything_is_asked(
    tables: Factory, pool: database.Pool, service: asking.Service, server: llm_server.Server
) -> None:
    key = await money.running(tables, budget=reserved() - 1)
    with pytest.raises(errors.BudgetError, match="'words/1 by tiny' may cost"):
        await llm_tools.asker(service, pool, key).ask(question())
    assert server.calls == []
    assert await tables.fetch("SELECT * FROM shared.llm_calls") == [], "its turn is given back"


async def test_what_others_of_the_attempt_have_reserved_is_awaited_before_money_is_said_to_be_used_up(
    tables: Factory, pool: database.Pool, service: asking.Service, server: llm_server.Server
) -> None:
    key = await money.running(tables, budget=3 * reserved())
    asker = llm_tools.asker(service, pool, key)
    await asyncio.gather(*(asker.ask(question(f"topic number {number}")) for number in range(6)))
    assert len(server.calls) == 6
    assert await llm_tools.spent(tables, key) == (server.spent, 0)


async def test_a_degraded_attempt_gets_what_is_kept_and_asks_nobody(
    tables: Factory, pool: database.Pool, service: asking.Service, server: llm_server.Server, key: messages.TaskKey
) -> None:
    paid = await llm_tools.asker(service, pool, key).ask(question())
    degraded = llm_tools.asker(service, pool, key, degraded=True)
    assert await degraded.ask(question()) == paid
    with pytest.raises(errors.BudgetError, match="is to go without"):
        await degraded.ask(question("beekeeping"))
    assert len(server.calls) == 1


async def test_an_attempt_that_has_no_time_left_asks_nobody(
    tables: Factory, pool: database.Pool, service: asking.Service, server: llm_server.Server, key: messages.TaskKey
) -> None:
    with pytest.raises(llm.LlmError, match="no time was left"):
        await llm_tools.asker(service, pool, key, seconds=asking.LEFT_FOR_OTHERS).ask(question())
    assert server.calls == []


async def test_outcomes_are_counted(pool: database.Pool, server: llm_server.Server, key: messages.TaskKey) -> None:
    model = f"m-{uuid.uuid4().hex[:8]}"
    prices = {model: asking.priced(llm_tools.chosen(server))["tiny"]}
    async with llm_tools.connected(pool, server, models=(model,), prices=prices) as service:
        server.faults.append("schema")
        for _ in range(2):
            await llm_tools.asker(service, pool, key).ask(question())
    assert [counted(model, outcome) for outcome in ("invalid", "answered", "cached", "lost")] == [1, 1, 1, 0]


# --- Limits ----------------------------------------------------------------------------------------------------------


async def test_no_more_calls_are_under_way_than_allowed_in_all_processes_together(
    pool: database.Pool, server: llm_server.Server, key: messages.TaskKey
) -> None:
    server.delay = 0.1
    async with contextlib.AsyncExitStack() as stack:
        services = [await stack.enter_async_context(llm_tools.connected(pool, server, concurrency=3)) for _ in range(3)]
        askers = [llm_tools.asker(service, pool, key) for service in services]
        await asyncio.gather(*(askers[n % 3].ask(question(f"topic {n}")) for n in range(18)))
    assert len(server.calls) == 18
    assert server.most_at_once == 3


async def test_a_slot_of_a_process_that_died_comes_back_when_it_expires(
    tables: Factory, pool: database.Pool, server: llm_server.Server, key: messages.TaskKey
) -> None:
    async with llm_tools.connected(pool, server, concurrency=1) as service:
        await llm_tools.asker(service, pool, key).ask(question())
        await tables.fetch("INSERT INTO shared.llm_calls VALUES (gen_random_uuid(), 'tiny', now() + interval '1 hour')")
        waiting = asyncio.create_task(llm_tools.asker(service, pool, key).ask(question("beekeeping")))

        async def taken() -> bool:
            rows = await tables.fetch("SELECT * FROM shared.llm_calls WHERE model = 'tiny'")
            return len(rows) == 1 and not waiting.done()

        await eventually(taken, "it waits for the slot")
        await tables.fetch("UPDATE shared.llm_calls SET expires_at = now()")
        assert (await waiting).words
    assert await tables.fetch("SELECT * FROM shared.llm_calls") == []


async def test_a_caller_that_finds_no_slot_in_time_asks_the_next_model(
    tables: Factory, pool: database.Pool, server: llm_server.Server, key: messages.TaskKey
) -> None:
    async with llm_tools.connected(pool, server, concurrency=1) as service:
        await llm_tools.asker(service, pool, key).ask(question())
        await tables.fetch("INSERT INTO shared.llm_calls VALUES (gen_random_uuid(), 'tiny', now() + interval '1 hour')")
        await llm_tools.asker(service, pool, key, seconds=asking.LEFT_FOR_OTHERS + 0.5).ask(question("bees"))
    assert [call.model for call in server.calls] == ["tiny", "other"]


async def take(pool: database.Pool, number: int, tokens: float = 0, patience: float = 3600.0, requests_: int = 60,
               tokens_a_minute: int = 0) -> list[tuple[bool, float]]:  # fmt: skip
    """What so many callers at once are told."""
    statement = "SELECT granted, wait FROM shared.llm_take($1, 'm', 1000, $2, $3, $4, $5, 60)"

    async def one() -> tuple[bool, float]:
        async with pool.acquire() as connection:
            (row,) = await connection.fetch(
                statement, uuid.uuid4(), float(requests_), float(tokens_a_minute), tokens, patience
            )
        return row["granted"], row["wait"]

    return sorted(await asyncio.gather(*(one() for _ in range(number))), key=lambda told: told[1])


async def test_turns_of_a_minute_are_booked_one_after_the_other(pool: database.Pool) -> None:
    told = await take(pool, 96)
    assert all(granted for granted, _ in told)
    waits = [wait for _, wait in told]
    assert sum(wait == 0 for wait in waits) in (6, 7), "a tenth of the minute's at once"
    for start in range(len(waits) - 60):
        assert waits[start + 60] - waits[start] >= 60 - 1e-6, "no minute sees more than its limit"
    assert max(waits) <= (96 - 6) / 54 * 60 + 1e-6, "and none is wasted"


async def test_a_turn_that_would_come_too_late_is_not_booked(pool: database.Pool) -> None:
    told = await take(pool, 20, patience=5.0)
    assert {granted for granted, wait in told if wait <= 5} == {True}
    assert {granted for granted, wait in told if wait > 5} == {False}
    (again,) = await take(pool, 1)
    assert again[0]
    assert again[1] < 8, "those who were turned away hold no place"


async def test_tokens_are_limited_as_requests_are_and_what_is_not_used_comes_back(
    tables: Factory, pool: database.Pool
) -> None:
    told = await take(pool, 3, tokens=1000, requests_=0, tokens_a_minute=10_000)
    assert [round(wait) for _, wait in told] == [0, 7, 13]
    await tables.fetch("UPDATE shared.llm_models SET tokens = tokens + 2000")
    (again,) = await take(pool, 1, tokens=1000, requests_=0, tokens_a_minute=10_000)
    assert round(again[1]) <= 7
    (large,) = await take(pool, 1, tokens=50_000, requests_=0, tokens_a_minute=10_000)
    assert large[0], "a call larger than the bucket waits until it is full, and not for ever"


async def test_a_cancelled_caller_gives_its_turn_back(
    tables: Factory, pool: database.Pool, server: llm_server.Server, key: messages.TaskKey
) -> None:
    async with llm_tools.connected(pool, server, requests_per_minute=6) as service:
        await llm_tools.asker(service, pool, key).ask(question())
        waiting = asyncio.create_task(llm_tools.asker(service, pool, key, seconds=600).ask(question("beekeeping")))

        async def booked() -> bool:
            return bool(await tables.fetch("SELECT * FROM shared.llm_calls"))

        await eventually(booked, "its turn is booked")
        waiting.cancel()
        await asyncio.wait([waiting])
    assert await tables.fetch("SELECT * FROM shared.llm_calls") == []
    (row,) = await tables.fetch("SELECT requests FROM shared.llm_models")
    assert row["requests"] >= -1e-6
    assert (await llm_tools.spent(tables, key)) == (server.spent, 0)
    assert server.spent < CENT
