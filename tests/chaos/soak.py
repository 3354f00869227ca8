"""``python -m tests.chaos.soak``: row 47, thousands of executions while everything is killed, frozen and cut off."""

import argparse
import asyncio
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from contracts import topology
from contracts.tiers import Tier
from tests.chaos import __main__ as command
from tests.chaos import matrix
from tests.chaos.rows import combined
from tests.chaos.trial import Trial
from tests.chaos.world import World

POISON = 20
RECOVERIES = ("47a", "47b", "47c", "47d", "47e")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--executions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--report", type=Path, default=None, help="write the table (.md) or the data (.json) here")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    return parser.parse_args(given)


def row(minutes: float, executions: int) -> matrix.Row:
    """Row 47 over so many minutes and executions."""

    async def soak(trial: Trial) -> None:
        await trial.staff(coordinators=2, workers=3)
        rate = executions / (60.0 * minutes)
        async with trial.load(rate=rate, most=executions), asyncio.TaskGroup() as group:
            await trial.completed(50, 300.0)
            group.create_task(_poison(trial, 60.0 * minutes / POISON))
            await combined.storm(trial, minutes)
        await trial.drain()

    fault = f"{executions} executions of five steps under a storm of {minutes:g} minutes"
    return matrix.Row("47", fault, "all at random", soak, quick=False, own=True, size=executions, limit=30.0)


async def _poison(trial: Trial, seconds: float) -> None:
    """Messages that nobody can read, now and then, so that the dead letters have something to be counted against."""
    for number in range(POISON):
        await asyncio.sleep(trial.chance.uniform(0.0, seconds))
        exchange, key = trial.chance.choice(
            (
                (topology.STAGES, topology.stage_queue("effect", Tier.BASIC)),
                (topology.EVENTS, topology.event_key(Tier.PREMIUM)),
            )
        )
        await trial.poison(exchange, key, f"poison {number}".encode())


def main() -> int:
    """Runs the storm, then each recovery by itself; 1 if anything was lost, doubled or stuck."""
    given = arguments()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    rows = [row(given.minutes, given.executions), *(matrix.ROWS[key] for key in RECOVERIES)]

    async def tried(world: World) -> list[matrix.Result]:
        return [await command.one(world, each, seed, None) for each in rows]

    return command.report_on(seed, tried, {}, given.report, keep=given.keep)


if __name__ == "__main__":
    sys.exit(main())
