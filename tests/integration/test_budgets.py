"""The ledger on a real database: grants stop at the caps, each reservation is resolved once, and every sum holds."""

import asyncio
import datetime
import random
import uuid
from urllib.parse import urlsplit

import pytest

from contracts import errors, messages
from infra import budgets, database, executions, jobs
from tests import proxy
from tests.factories import Factory
from tests.integration import money
from tests.integration.money import CENT


async def grants(pool: database.Pool, keys: list[messages.TaskKey], amount: int) -> int:
    """How many of these reservations, all made at once, are granted."""

    async def reserve(key: messages.TaskKey) -> bool:
        try:
            await money.purse(pool, key).reserve(amount, "a call")
        except errors.BudgetError:
            return False
        return True

    return sum(await asyncio.gather(*map(reserve, keys)))


@pytest.mark.parametrize("capped", ["execution", "client", "both"])
async def test_fifty_at_once_with_room_for_ten_are_ten(tables: Factory, capped: str) -> None:
    room = 10 * CENT + 1
    keys = [await money.running(tables, budget=room if capped != "client" else None)] * 50
    if capped == "client":
        keys = [await money.running(tables) for _ in range(5)] * 10
    if capped != "execution":
        await money.limit(tables, "acme", room)
    async with money.workers(tables, size=12) as pool:
        assert await grants(pool, keys, CENT) == 10
        assert await grants(pool, keys, 2) == 0
        assert await grants(pool, keys[:1], 1) == 1
    await money.sums_hold(tables)


async def test_what_is_refused_names_the_account_what_is_left_and_the_remedy(tables: Factory) -> None:
    key = await money.running(tables, budget=30 * CENT)
    await money.limit(tables, "acme", 100 * CENT)
    async with money.workers(tables) as pool:
        budget = money.purse(pool, key)
        await budget.reserve(25 * CENT, "a summary")
        with pytest.raises(errors.BudgetError) as refused:
            await budget.reserve(6 * CENT + 500, "a second one")
        assert str(refused.value) == (
            f"'a second one' may cost $0.0605 and the execution has $0.05 left; "
            f"raise its budget with 'factory executions budget {key.execution_id} USD'"
        )
        assert refused.value.details == {"left": "50000", "wanted": "60500", "account": "execution"}
        await money.limit(tables, "acme", 26 * CENT)
        with pytest.raises(errors.BudgetError, match=r"client 'acme' has \$0\.01 left this month; .*budgets set acme"):
            await budget.reserve(3 * CENT, "a third")
        await money.limit(tables, "acme", 0)
        with pytest.raises(errors.BudgetError, match=r"has \$0\.00 left"):
            await budget.reserve(1, "a fourth")
    assert await money.kinds(tables, key.execution_id) == [("reserve", 25 * CENT, False)]


async def test_without_any_cap_everything_is_granted_and_on_record(tables: Factory) -> None:
    key = await money.running(tables)
    async with (
        money.workers(tables) as pool,
        await money.purse(pool, key).reserve(budgets.LARGEST, "much") as reservation,
    ):
        reservation.begin()
        await reservation.post(7)
    assert await money.account(tables, key.execution_id) == (0, 7, 0)
    assert await money.kinds(tables, key.execution_id) == [("reserve", budgets.LARGEST, False), ("post", 7, False)]


async def test_a_raised_budget_counts_at_once(tables: Factory) -> None:
    key = await money.running(tables, budget=CENT)
    async with money.workers(tables) as pool:
        with pytest.raises(errors.BudgetError):
            await money.purse(pool, key).reserve(2 * CENT, "a call")
        async with tables.pool.acquire() as connection:
            assert await budgets.set_execution(connection, key.execution_id, 2 * CENT, "kay")
        await money.purse(pool, key).reserve(2 * CENT, "a call")
    (fact,) = await tables.fetch("SELECT kind, actor, detail FROM timeline")
    assert (fact["kind"], fact["actor"], fact["detail"]) == ("budget_set", "kay", {"from": CENT, "to": 2 * CENT})


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("raised", [False, True])
async def test_leaving_the_block_gives_back_what_was_never_begun_and_nothing_else(
    tables: Factory, begun: bool, raised: bool
) -> None:
    key = await money.running(tables)

    async def work(pool: database.Pool) -> None:
        async with await money.purse(pool, key).reserve(CENT, "a call") as reservation:
            if begun:
                reservation.begin()
            if raised:
                raise errors.TransientError("the other side is away")

    async with money.workers(tables) as pool:
        (outcome,) = await asyncio.gather(work(pool), return_exceptions=True)
    assert isinstance(outcome, errors.TransientError) == raised
    assert await money.account(tables, key.execution_id) == ((CENT, 0, 0) if begun else (0, 0, 0))


async def test_a_cancelled_run_gives_back_what_was_never_begun(tables: Factory) -> None:
    key = await money.running(tables)
    inside = asyncio.Event()

    async def work(pool: database.Pool) -> None:
        async with await money.purse(pool, key).reserve(CENT, "a call"):
            inside.set()
            await asyncio.Event().wait()

    async with money.workers(tables) as pool:
        task = asyncio.create_task(work(pool))
        await inside.wait()
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert await money.kinds(tables, key.execution_id) == [("reserve", CENT, False), ("void", 0, False)]


async def test_what_costs_more_than_was_reserved_is_spent_in_full_and_flagged(tables: Factory) -> None:
    key = await money.running(tables, budget=2 * CENT)
    async with money.workers(tables) as pool:
        reservation = await money.purse(pool, key).reserve(CENT, "a call")
        reservation.begin()
        await reservation.post(5 * CENT)
        assert await money.account(tables, key.execution_id) == (0, 5 * CENT, 4 * CENT)
        with pytest.raises(errors.BudgetError, match=r"has \$0\.00 left"):
            await money.purse(pool, key).reserve(1, "another")
    assert await money.kinds(tables, key.execution_id) == [
        ("reserve", CENT, False),
        ("post", 5 * CENT, False),
        ("overrun", 4 * CENT, False),
    ]
    (fact,) = await tables.fetch("SELECT kind, actor, detail FROM timeline")
    assert (fact["kind"], fact["actor"]) == ("budget_overrun", "worker")
    assert fact["detail"] == {"purpose": "a call", "reserved": CENT, "amount": 4 * CENT}
    await money.sums_hold(tables)


async def test_a_reservation_is_resolved_once_and_the_same_word_twice_is_one(tables: Factory) -> None:
    key = await money.running(tables)
    async with money.workers(tables) as pool:
        posted, voided = [await money.purse(pool, key).reserve(CENT, "a call") for _ in range(2)]
        for reservation in (posted, voided):
            reservation.begin()
        for _ in range(2):
            await posted.post(3)
            await voided.void()
        before = await money.kinds(tables, key.execution_id)
        with pytest.raises(errors.PermanentError, match="resolved otherwise"):
            await posted.post(4)
        with pytest.raises(errors.PermanentError, match="resolved otherwise"):
            await posted.void()
        assert await money.kinds(tables, key.execution_id) == before
        stranger = budgets.Reservation(budgets.Ledger(pool), uuid.uuid4(), CENT, "no call", "effect")
        with pytest.raises(errors.PermanentError):
            await stranger.void()
    assert await money.account(tables, key.execution_id) == (0, 3, 0)


async def test_a_call_is_not_posted_that_was_not_begun(tables: Factory) -> None:
    key = await money.running(tables)
    async with money.workers(tables) as pool:
        reservation = await money.purse(pool, key).reserve(CENT, "a call")
        with pytest.raises(errors.PermanentError, match=r"call begin\(\) before"):
            await reservation.post(1)


async def test_a_call_of_a_degraded_attempt_and_amounts_out_of_range_are_refused(tables: Factory) -> None:
    key = await money.running(tables)
    async with money.workers(tables) as pool:
        with pytest.raises(errors.BudgetError, match="is to go without"):
            await money.purse(pool, key, degraded=True).reserve(1, "a call")
        for amount in (0, -1, budgets.LARGEST + 1):
            with pytest.raises(errors.PermanentError, match="millionths of a US dollar"):
                await money.purse(pool, key).reserve(amount, "a call")
    assert await money.kinds(tables, key.execution_id) == []


async def test_only_the_attempt_that_is_under_way_may_spend(tables: Factory) -> None:
    key = await money.running(tables, attempt=2)
    others = [key._replace(attempt=1), key._replace(epoch=2), key._replace(step="b"), key._replace(shard=1)]
    async with money.workers(tables) as pool:
        for other in others:
            with pytest.raises(errors.TransientError, match="this attempt is over"):
                await money.purse(pool, other).reserve(1, "a call")
        await tables.fetch("UPDATE step_executions SET status = 'completed'")
        with pytest.raises(errors.TransientError, match="this attempt is over"):
            await money.purse(pool, key).reserve(1, "a call")


async def test_nobody_spends_the_money_of_another_client(tables: Factory) -> None:
    key = await money.running(tables)
    await money.running(tables, client="rival")
    async with money.workers(tables) as pool:
        with pytest.raises(errors.PermanentError, match="foreign"):
            await money.purse(pool, key, client="rival").reserve(1, "a call")
        with pytest.raises(errors.PermanentError, match="foreign"):
            await money.purse(pool, key._replace(execution_id=uuid.uuid4())).reserve(1, "a call")


async def test_the_same_reservation_asked_for_twice_is_one(tables: Factory) -> None:
    key = await money.running(tables, budget=CENT)
    reservation = uuid.uuid4()

    async def ask(pool: database.Pool, amount: int = CENT) -> str:
        arguments = (
            reservation,
            "acme",
            key.execution_id,
            key.epoch,
            key.step,
            key.shard,
            key.attempt,
            "a",
            amount,
            60.0,
        )
        async with pool.acquire() as connection:
            outcome: str = await connection.fetchval(budgets.SQL["reserve"], *arguments)
            return outcome

    async with money.workers(tables, size=8) as pool:
        assert set(await asyncio.gather(*(ask(pool) for _ in range(20)))) == {"granted"}
        assert await ask(pool, 1) == "conflict"
        assert await money.account(tables, key.execution_id) == (CENT, 0, 0)
        await budgets.Reservation(budgets.Ledger(pool), reservation, CENT, "a", "effect").void()
        assert await ask(pool) == "conflict", "what is resolved is not granted again"


async def test_an_answer_that_is_lost_is_asked_for_again_and_nothing_counts_twice(tables: Factory) -> None:
    key = await money.running(tables)
    parts = urlsplit(tables.settings.worker_database_url)
    async with proxy.to(parts.hostname or "", parts.port or 0) as between:
        url = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{between.port}").geturl()
        async with database.connect(url, application="test worker", size=1) as pool:
            traps = [between.trap(b"a call that is lost")]
            posted = await money.purse(pool, key).reserve(CENT, "a call that is lost")
            posted.begin()
            traps.append(between.trap(posted.id.bytes))
            await posted.post(3)
            voided = await money.purse(pool, key).reserve(CENT, "another")
            traps.append(between.trap(voided.id.bytes))
            await voided.void()
    assert all(trap.sprung.is_set() for trap in traps)
    assert [kind for kind, _, _ in await money.kinds(tables, key.execution_id)] == [
        "reserve",
        "post",
        "reserve",
        "void",
    ]
    assert await money.account(tables, key.execution_id) == (0, 3, 0)


async def test_a_ledger_that_stays_away_is_a_transient_error(tables: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "PATIENCE", 0.5)
    key = await money.running(tables)
    parts = urlsplit(tables.settings.worker_database_url)
    async with proxy.to(parts.hostname or "", parts.port or 0) as between:
        url = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{between.port}").geturl()
        async with database.connect(url, application="test worker", size=1) as pool:
            between.refuse()
            with pytest.raises(errors.TransientError, match="the budget ledger does not answer"):
                await money.purse(pool, key).reserve(CENT, "a call")
    assert await money.kinds(tables, key.execution_id) == []


@pytest.mark.parametrize(
    "end",
    [
        "UPDATE step_executions SET status = 'waiting', attempt = 2",
        "UPDATE step_executions SET epoch = 2",
        "UPDATE step_executions SET status = 'failed'",
        "DELETE FROM step_executions",
        "UPDATE shared.budget_open SET expires_at = now() - interval '1 second'",
    ],
)
async def test_what_a_dead_run_left_open_counts_as_spent(tables: Factory, end: str) -> None:
    key = await money.running(tables, budget=CENT)
    async with money.workers(tables) as pool:
        reservation = await money.purse(pool, key).reserve(CENT, "a call")
        reservation.begin()
        assert await money.expire(tables) == [], "it is under way"
        await tables.fetch(end)
        found = await asyncio.gather(*(money.expire(tables) for _ in range(3)))
        assert [e for closed in found for e in closed] == [
            budgets.Expired(reservation.id, key.execution_id, "a", CENT)
        ], "one coordinator closes it"
    assert await money.account(tables, key.execution_id) == (0, CENT, 0)
    assert await money.kinds(tables, key.execution_id) == [("reserve", CENT, False), ("post", CENT, True)]
    assert [r["kind"] for r in await tables.fetch("SELECT kind FROM timeline")] == ["budget_expired"]
    await money.sums_hold(tables)


@pytest.mark.parametrize(("actual", "spent", "overrun"), [(CENT // 2, CENT, 0), (3 * CENT, 3 * CENT, 2 * CENT)])
async def test_a_call_that_returns_after_its_reservation_expired_is_never_hidden(
    tables: Factory, actual: int, spent: int, overrun: int
) -> None:
    key = await money.running(tables)
    async with money.workers(tables) as pool:
        reservation = await money.purse(pool, key).reserve(CENT, "a call")
        reservation.begin()
        await tables.fetch("UPDATE step_executions SET attempt = 2")
        await money.expire(tables)
        with pytest.raises(errors.PermanentError):
            await reservation.void()
        for _ in range(2):
            await reservation.post(actual)
        with pytest.raises(errors.PermanentError):
            await reservation.post(actual + 1)
    assert await money.kinds(tables, key.execution_id) == [
        ("reserve", CENT, False),
        ("post", CENT, True),
        ("overrun", actual, False),
    ]
    assert await money.account(tables, key.execution_id) == (0, spent, overrun)
    await money.sums_hold(tables)


async def test_a_call_that_was_voided_and_costs_after_all_is_an_overrun(tables: Factory) -> None:
    key = await money.running(tables)
    async with money.workers(tables) as pool:
        reservation = await money.purse(pool, key).reserve(CENT, "a call")
        await reservation.void()
        reservation.begin()
        await reservation.post(CENT)
    assert await money.account(tables, key.execution_id) == (0, CENT, CENT)


async def test_expiry_and_post_at_once_leave_one_resolution(tables: Factory) -> None:
    async with money.workers(tables, size=8) as pool:
        for _ in range(10):
            key = await money.running(tables)
            reservation = await money.purse(pool, key).reserve(CENT, "a call")
            reservation.begin()
            await tables.fetch("UPDATE step_executions SET attempt = attempt + 1")
            await asyncio.gather(reservation.post(2 * CENT), money.expire(tables), money.expire(tables))
            found = await money.kinds(tables, key.execution_id)
            assert [kind for kind, _, _ in found] == ["reserve", "post", "overrun"]
            assert await money.account(tables, key.execution_id) == (0, 2 * CENT, CENT)
    await money.sums_hold(tables)


async def test_whatever_happens_the_ledger_adds_up_and_no_cap_is_passed_but_by_overruns(tables: Factory) -> None:
    chance = random.Random(20261121)
    keys = [
        await money.running(tables, client=chance.choice(["acme", "rival"]), budget=chance.choice([None, 60 * CENT]))
        for _ in range(8)
    ]
    await money.limit(tables, "acme", 200 * CENT)
    owners = {r["id"]: r["client_id"] for r in await tables.fetch("SELECT id, client_id FROM executions")}

    async def spend(pool: database.Pool) -> None:
        key = chance.choice(keys)
        try:
            reservation = await money.purse(pool, key, owners[key.execution_id]).reserve(
                chance.randint(1, 9) * CENT, "a call"
            )
        except errors.BudgetError:
            return
        if (fate := chance.random()) < 0.2:
            await reservation.void()
            return
        reservation.begin()
        if fate < 0.3:
            await tables.fetch(
                "UPDATE shared.budget_open SET expires_at = '-infinity' WHERE reservation_id = $1", reservation.id
            )
            await money.expire(tables)
        if fate > 0.25:
            await reservation.post(chance.randint(0, 10) * CENT)

    async with money.workers(tables, size=8) as pool:
        for _ in range(8):
            await asyncio.gather(*(spend(pool) for _ in range(30)))
            await money.sums_hold(tables)
    over = """SELECT 1 FROM executions e JOIN shared.budget_executions x ON x.execution_id = e.id
              WHERE x.reserved + x.spent - x.overrun > e.budget"""
    assert await tables.fetch(over) == []
    (month,) = await tables.fetch("SELECT * FROM shared.budget_months WHERE client_id = 'acme'")
    assert month["reserved"] + month["spent"] - month["overrun"] <= 200 * CENT


async def test_each_month_has_an_account_of_its_own(tables: Factory) -> None:
    key = await money.running(tables)
    await money.limit(tables, "acme", CENT)
    async with money.workers(tables) as pool:
        reservation = await money.purse(pool, key).reserve(CENT, "a call")
        reservation.begin()
        await tables.fetch("ALTER TABLE shared.budget_ledger DISABLE TRIGGER append_only")
        await tables.fetch("UPDATE shared.budget_months SET month = '2026-01-01'")
        await tables.fetch("UPDATE shared.budget_ledger SET month = '2026-01-01'")
        later = await money.purse(pool, key).reserve(CENT, "a call of this month")
        await reservation.post(CENT)
        await later.void()
    async with tables.pool.acquire() as connection:
        assert [(m.month, m.spent) for m in await budgets.months(connection, "acme", 12)] == [
            (datetime.datetime.now(datetime.UTC).strftime("%Y-%m"), 0),
            ("2026-01", CENT),
        ]
        present = await budgets.of_client(connection, "acme")
    assert present is not None
    assert (present.budget, present.reserved, present.spent) == (CENT, 0, 0)
    await money.sums_hold(tables)


async def test_an_execution_is_read_with_what_is_left_and_no_account_is_locked(tables: Factory) -> None:
    key = await money.running(tables, budget=9 * CENT)
    free = await money.running(tables, client="rival")
    await money.limit(tables, "acme", 7 * CENT)
    async with money.workers(tables) as pool, tables.pool.acquire() as connection, connection.transaction():
        await money.purse(pool, key).reserve(CENT, "a call")
        found = await executions.lock(connection, [key.execution_id, free.execution_id])
        assert (found[key.execution_id].used, found[key.execution_id].month_left) == (CENT, 6 * CENT)
        assert found[key.execution_id].budget_left == 6 * CENT
        assert found[free.execution_id].budget_left is None
        await money.purse(pool, key).reserve(CENT, "a call while the execution is locked")


async def test_a_month_that_is_used_up_is_known_to_whoever_takes_jobs(tables: Factory) -> None:
    key = await money.running(tables)
    async with money.workers(tables) as pool, tables.pool.acquire() as connection:

        async def used_up(cap: int | None) -> bool:
            await budgets.set_client(connection, "acme", cap)
            return (await jobs.clients(connection, ["acme"]))["acme"].used_up

        assert not await used_up(0), "no money at all is no reason to refuse what costs nothing"
        await budgets.set_client(connection, "acme", None)
        reservation = await money.purse(pool, key).reserve(CENT, "a call")
        reservation.begin()
        assert not await used_up(CENT), "a reservation may come back"
        await reservation.post(CENT)
        assert [await used_up(cap) for cap in (CENT, CENT + 1, None)] == [True, False, False]
