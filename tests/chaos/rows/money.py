"""Money under pressure: many who want the last of it, and a paid call that returns when nobody waits any more."""

import asyncio

from contracts import messages
from contracts.errors import BudgetError
from tests.chaos.matrix import row
from tests.chaos.trial import Trial
from tests.integration import money

WANTING, GRANTED = 50, 10
ATTEMPT = """
SELECT s.execution_id, s.epoch, s.step, s.shard, s.attempt, e.client_id
FROM step_executions s JOIN executions e ON e.id = s.execution_id
WHERE s.status = 'running' AND s.worker IS NOT NULL LIMIT 1
"""


async def _at_work(trial: Trial) -> tuple[messages.TaskKey, str]:
    """The attempt that a worker is at, and the client who pays for it."""

    async def found() -> list[object]:
        return list(await trial.fetch(ATTEMPT))

    ((execution_id, epoch, step, shard, attempt, client),) = await trial.until(found, "somebody is at work")
    return messages.TaskKey(execution_id, epoch, step, shard, attempt), client


async def _paying(trial: Trial, seconds: float) -> None:
    work = {"name": "work", "stage": "slow_effect", "parameters": {"seconds": str(seconds)}}
    await trial.factory.template("paying", [work])


async def _sums(trial: Trial) -> None:
    for query in (money.MONTHS, money.EXECUTIONS, money.OPEN):
        wrong = await trial.fetch(query)
        trial.claim(not wrong, f"I6: accounts are not what the ledger adds up to: {[dict(row_) for row_ in wrong]}")


@row("44", "50 parallel reserves against room for 10", "concurrency", quick=True, size=1)
async def fifty(trial: Trial) -> None:
    await _paying(trial, 4.0)
    trial.crew.coordinator()
    trial.crew.worker("slow_effect")
    async with trial.load("paying", most=1, budget=GRANTED * money.CENT + 1):
        key, client = await _at_work(trial)
        async with money.workers(trial.factory, size=12) as pool:

            async def reserve() -> bool:
                try:
                    reservation = await money.purse(pool, key, client).reserve(money.CENT, "a call")
                except BudgetError:
                    return False
                reservation.begin()
                await reservation.post(money.CENT)
                return True

            trial.inject(f"{WANTING} reserves at once, room for {GRANTED}")
            granted = sum(await asyncio.gather(*(reserve() for _ in range(WANTING))))
    trial.claim(granted == GRANTED, f"I6: {granted} reserves were granted, there was room for {GRANTED}")
    account = await money.account(trial.factory, key.execution_id)
    trial.claim(account == (0, GRANTED * money.CENT, 0), f"I6: the account says {account}")
    await _sums(trial)


@row("45", "a reservation expires while its paid call returns", "SIGSTOP beyond the lease", quick=True, size=1)
async def late_call(trial: Trial) -> None:
    await _paying(trial, 3.0)
    trial.crew.coordinator()
    frozen = trial.crew.worker("slow_effect", concurrency=1)
    async with trial.load("paying", most=1, budget=GRANTED * money.CENT), money.workers(trial.factory) as pool:
        key, client = await _at_work(trial)
        reservation = await money.purse(pool, key, client).reserve(money.CENT, "a call that takes long")
        reservation.begin()
        trial.inject("SIGSTOP of the worker that paid, until its reservation has expired")
        frozen.freeze()
        trial.crew.worker("slow_effect", concurrency=1)

        async def expired() -> bool:
            return ("post", money.CENT, True) in await money.kinds(trial.factory, key.execution_id)

        await trial.until(expired, "the reservation counts as spent")
        await reservation.post(3 * money.CENT)
        frozen.thaw()
    kinds = await money.kinds(trial.factory, key.execution_id)
    wanted = [("reserve", money.CENT, False), ("post", money.CENT, True), ("overrun", 3 * money.CENT, False)]
    trial.claim(kinds == wanted, f"I6: the ledger says {kinds}, not {wanted}")
    account = await money.account(trial.factory, key.execution_id)
    trial.claim(account == (0, 3 * money.CENT, 2 * money.CENT), f"I6: the account says {account}")
    await _sums(trial)
