"""What must not grow with what piles up: a million queued executions, history and its removal, a wide fan-out.

``python -m benchmarks.growth`` measures it on servers of its own.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import aging, backlog, fanning
from infra.local import stack as servers
from infra.settings import Settings

SIZES = (1_000, 10_000, 100_000, 1_000_000)
SHARDS = 10_000
OLD = 100_000


def _silent(text: str) -> None:
    """Says nothing."""


async def measure(
    settings: Settings,
    *,
    sizes: Sequence[int] = SIZES,
    shards: int = SHARDS,
    old: int = OLD,
    say: Callable[[str], None] = _silent,
) -> dict[str, Any]:
    """All figures, each part in a corner of its own on the servers of ``settings``; a part is left out where there is
    nothing of it: no size, no shards, no old executions."""
    found: dict[str, Any] = {}
    if sizes:
        found["queued"] = await backlog.measure(settings, sizes, say)
    if old:
        found |= await aging.measure(settings, old, say)
    if shards:
        found["fan_out"] = await fanning.measure(settings, shards)
        say(f"fan-out: {found['fan_out']}")
    return found


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def main(
    sizes: Annotated[str, typer.Option(help="Numbers of queued executions, separated by commas.")] = ",".join(
        map(str, SIZES)
    ),
    shards: Annotated[int, typer.Option(help="Shards of the fan-out.")] = SHARDS,
    old: Annotated[int, typer.Option(help="Old executions to remove.")] = OLD,
) -> None:
    """Measures and prints the figures as JSON."""
    chosen = [int(size) for size in sizes.split(",") if size]
    with tempfile.TemporaryDirectory() as folder, servers.temporary(Path(folder) / "servers") as settings:
        figures = asyncio.run(measure(settings, sizes=chosen, shards=shards, old=old, say=_say))
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
