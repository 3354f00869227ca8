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


async def test_an_unexpected_fetch_is_an_error_that_says_what_to_do(analyst: local.LocalAnalyst) -> None:
    with pytest.raises(errors.PermanentError, match=r"http://a\.example/; give harness\.run a fetch function"):
        await harness.run(Measuring("measuring"), Address(url="http://a.example/"), analyst=analyst)
