"""The register of rows, and the run of one: load, fault, heal, drain, check."""

import dataclasses
import time
import traceback
from collections.abc import Awaitable, Callable

from tests.chaos import history, trial
from tests.chaos import world as ground

RECOVERY_LIMIT = 60.0
"""Seconds from the end of the fault to the first completed task, where a row names no shorter limit."""

Try = Callable[[trial.Trial], Awaitable[None]]


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the matrix. ``own`` rows need servers that they may kill; ``quick`` ones run with every test."""

    key: str
    fault: str
    method: str
    body: Try
    quick: bool
    own: bool
    size: int
    limit: float


@dataclasses.dataclass(frozen=True)
class Result:
    """What one run of a row came to."""

    key: str
    fault: str
    method: str
    seed: int
    injected: tuple[str, ...]
    verdict: history.Verdict
    recovery: float | None
    normal: float | None
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every invariant held."""
        return not self.verdict.problems


ROWS: dict[str, Row] = {}
"""Filled by the modules of tests.chaos.rows as they are imported."""


def row(
    key: str,
    fault: str,
    method: str,
    *,
    quick: bool = False,
    own: bool = False,
    size: int = 30,
    limit: float = RECOVERY_LIMIT,
) -> Callable[[Try], Try]:
    """Registers the function that tries a fault."""

    def register(body: Try) -> Try:
        assert key not in ROWS, f"row {key} is registered twice"
        ROWS[key] = Row(key, fault, method, body, quick, own, size, limit)
        return body

    return register


async def run(world: ground.World, chosen: Row, seed: int, size: int | None = None) -> Result:
    """Tries one row with a factory of its own and checks what is left of it."""
    began = time.monotonic()
    async with ground.begin(world, seed, size or chosen.size, quick=chosen.quick) as made:
        verdict = history.Verdict()
        try:
            try:
                await chosen.body(made)
            finally:
                if chosen.own:
                    await made.servers.revive()
                for between in made.proxies.values():
                    between.mend()
            await made.drain()
            await made.crew.end()
            verdict = await history.check(made.factory, made.ledger, made.expected_dead)
            verdict.complain("I4", sorted((await made.backlog()).items()), "queues hold messages when all is over")
        except Exception as error:
            text = "".join(traceback.format_exception(error)[-4:])
            verdict.problems.append(f"the row did not run to its end: {error!r}\n{text}")
        verdict.problems += made.notes
        recovery, normal = await _recovered(made)
        if recovery is not None and recovery > chosen.limit:
            verdict.problems.append(f"I9: recovery took {recovery} s, the limit is {chosen.limit:g} s")
        return Result(
            key=chosen.key,
            fault=chosen.fault,
            method=chosen.method,
            seed=seed,
            injected=tuple(made.injected),
            verdict=verdict,
            recovery=recovery,
            normal=normal,
            seconds=time.monotonic() - began,
        )


async def _recovered(made: trial.Trial) -> tuple[float | None, float | None]:
    """Seconds from the end of the fault to the first completed task, and to nine tenths of the rate before it."""
    if made.healed is None:
        return None, None
    rows = await made.fetch(
        "SELECT extract(epoch FROM at)::double precision AS at FROM chaos_history "
        "WHERE step IS NOT NULL AND status = 'completed' ORDER BY at"
    )
    times = [row["at"] for row in rows]
    after = [moment - made.healed for moment in times if moment > made.healed]
    return (round(after[0], 2) if after else None), _to_normal(made, times, after)


WINDOW = 3.0


def _to_normal(made: trial.Trial, times: list[float], after: list[float]) -> float | None:
    broken = made.broken or made.began
    first = min(times, default=broken)
    before = [moment for moment in times if moment < broken]
    if broken - first < WINDOW:
        return None
    wanted = 0.9 * WINDOW * len(before) / (broken - first)
    for index, moment in enumerate(after):
        if sum(1 for other in after[index:] if other < moment + WINDOW) >= wanted:
            return round(moment, 2)
    return None
