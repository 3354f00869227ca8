"""When steps and shards waited and ran, as rows and timeline tell it after retries and reopenings."""

import uuid

from contracts.tiers import Tier
from infra import timings
from tests.factories import Factory
from tests.integration import figures

REOPENED = """
INSERT INTO timeline (at, execution_id, kind, step, actor, detail)
VALUES (now() - make_interval(secs => $1), $2, 'reopened', 'a', 'ann', jsonb_build_object('epoch', $3::integer))
"""
REPEATED = """
INSERT INTO timeline (at, execution_id, kind, step, shard, attempt, detail)
VALUES (now() - make_interval(secs => $1), $2, $3, $4, $5, 1, '{"wait": 2.5}')
"""


async def repeated(tables: Factory, one: uuid.UUID, ago: float, step: str, shard: int = 0, kind: str = "retry") -> None:
    await tables.fetch(REPEATED, ago, one, kind, step, shard)


async def test_a_step_counts_from_when_it_was_opened_last(tables: Factory) -> None:
    await figures.prepare(tables, ("acme", Tier.BASIC))
    one = await figures.execution(tables, ago=0.0, seconds=100.0)
    await figures.step(tables, one, ago=10.0)
    await figures.step(tables, one, "b", stage="other", ago=5.0)
    await tables.fetch("UPDATE step_executions SET epoch = 3 WHERE step = 'a'")
    for ago, epoch in ((80.0, 2), (40.0, 3), (20.0, 4)):
        await tables.fetch(REOPENED, ago, one, epoch)
    async with tables.pool.acquire() as connection:
        first, second = await timings.steps(connection, one)
    assert first.opened is not None
    assert round(first.opened) == 60
    assert (first.step, second.step, second.opened) == ("a", "b", None)


async def test_the_last_repeats_are_told_and_no_other_facts(tables: Factory) -> None:
    await figures.prepare(tables, ("acme", Tier.BASIC))
    one = await figures.execution(tables, ago=0.0, seconds=100.0)
    await figures.step(tables, one, ago=1.0)
    for ago, kind in ((90.0, "retry"), (50.0, "budget_overrun"), (30.0, "lease_lapsed")):
        await repeated(tables, one, ago, "a", kind=kind)
    await repeated(tables, one, 20.0, "b", shard=4)
    async with tables.pool.acquire() as connection:
        found = await timings.repeats(connection, one)
    assert [(repeat.step, round(repeat.ended), repeat.wait) for repeat in found] == [("a", 10, 2.5), ("a", 70, 2.5)]


async def test_a_shard_tells_when_its_last_attempt_ended_that_another_followed(tables: Factory) -> None:
    await figures.prepare(tables, ("acme", Tier.BASIC))
    one = await figures.execution(tables, ago=0.0, seconds=100.0)
    await figures.step(tables, one, "b", stage="other", shards=2)
    for shard in (1, 2):
        await figures.step(tables, one, "b", stage="other", shard=shard, status="waiting")
    for ago in (70.0, 50.0):
        await repeated(tables, one, ago, "b", shard=2)
    await repeated(tables, one, 40.0, "a", shard=2)
    async with tables.pool.acquire() as connection:
        first, second = await timings.shards(connection, one, "b")
    assert first.repeated is None
    assert second.repeated is not None
    assert round(second.repeated) == 50
