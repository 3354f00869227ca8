"""The harness runs a stage as a worker would, without any server."""

import types
from collections.abc import Mapping

import pytest

from consumers import harness
from consumers.analysis import local
from contracts import errors, model, stages
from tests.unit import material


class Address(model.Model):
    """What the stage of these tests takes."""

    url: str


class Length(model.Artifact):
    """What it gives."""

    size: int


async def measure(ctx: stages.StageContext, task: Address) -> Length:
    page = await ctx.fetch(task.url)
    await ctx.progress(0.5, "fetched")
    await ctx.attach("text", await ctx.isolated(bytes.upper, page.body), "text/plain")
    await ctx.cache.put("size", len(page.body), 60)
    ctx.log.info("measured", at=ctx.now().isoformat())
    return Length(size=int(str(await ctx.cache.get("size"))))


class Measuring(types.ModuleType):
    """A stage's module."""

    SPEC = stages.StageSpec(name="measure", input=Address, output=Length)

    async def run(self, ctx: stages.StageContext, task: Address) -> Length:
        return await measure(ctx, task)


async def answer(url: str, headers: Mapping[str, str]) -> stages.Page:
    return stages.Page(url=url, status=200, headers={}, body=b"hello")


@pytest.fixture(scope="module")
def analyst() -> local.LocalAnalyst:
    return local.packaged()


async def test_a_stage_gets_what_it_asks_for_and_all_it_tells_is_kept(analyst: local.LocalAnalyst) -> None:
    task = Address(url="http://a.example/")
    result = await harness.run(Measuring("measuring"), task, analyst=analyst, fetch=answer, now=material.NOW)
    assert result.output == Length(size=5)
    assert result.files == {"text": harness.File(b"HELLO", "text/plain")}
    assert result.progress == ((0.5, "fetched"),)
    assert result.log == (("info", "measured {'at': '2026-03-20T12:00:00+00:00'}"),)


class Paying(types.ModuleType):
    """A stage that makes one paid call unless it is told to do without."""

    SPEC = stages.StageSpec(name="pay", input=Address, output=Length)

    async def run(self, ctx: stages.StageContext, task: Address) -> Length:
        if ctx.task.degraded:
            return Length(size=0)
        async with await ctx.budget.reserve(30, "a call") as reservation:
            if task.url != "nowhere":
                reservation.begin()
            page = await ctx.fetch(task.url)
            if page.status != 202:
                await reservation.post(page.status)
        return Length(size=len(page.body))


def costing(cost: int) -> harness.Fetch:
    async def fetch(url: str, headers: Mapping[str, str]) -> stages.Page:
        return stages.Page(url=url, status=cost, headers={}, body=b"hello")

    return fetch


@pytest.mark.parametrize(("cost", "spent"), [(20, 20), (45, 45), (202, 30)])
async def test_what_a_stage_spends_is_told(cost: int, spent: int, analyst: local.LocalAnalyst) -> None:
    result = await harness.run(Paying("paying"), Address(url="there"), analyst=analyst, fetch=costing(cost), budget=30)
    assert result.spent == spent


async def test_a_stage_without_money_fails_or_goes_without(analyst: local.LocalAnalyst) -> None:
    there = Address(url="there")
    with pytest.raises(errors.BudgetError, match="'a call' may cost 30 and 29 is left"):
        await harness.run(Paying("paying"), there, analyst=analyst, fetch=costing(1), budget=29)
    result = await harness.run(Paying("paying"), there, analyst=analyst, budget=29, degraded=True)
    assert (result.output.size, result.spent) == (0, 0)


async def test_a_stage_that_forgets_to_begin_its_paid_call_is_told(analyst: local.LocalAnalyst) -> None:
    with pytest.raises(errors.PermanentError, match=r"call begin\(\) before the paid call"):
        await harness.run(Paying("paying"), Address(url="nowhere"), analyst=analyst, fetch=costing(1))


async def test_an_unexpected_fetch_is_an_error_that_says_what_to_do(analyst: local.LocalAnalyst) -> None:
    with pytest.raises(errors.PermanentError, match=r"http://a\.example/; give harness\.run a fetch function"):
        await harness.run(Measuring("measuring"), Address(url="http://a.example/"), analyst=analyst)
