"""``python -m tests.chaos``: the rows of the chaos matrix, on servers that it starts, kills and freezes."""

import argparse
import asyncio
import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path

import structlog

from tests import launcher
from tests.chaos import levers, matrix, report
from tests.chaos.rows import broker, clocks, combined, coordinator, database, messages, money, network, store, workers
from tests.chaos.servers import Servers
from tests.chaos.world import World

MODULES = (coordinator, workers, broker, network, messages, database, store, clocks, money, combined)
"""Importing them registers their rows."""

LEFT_OUT: dict[str, str] = {
    "41": "nothing collects objects yet, so that no collection can meet a reference",
    "46": "no stage asks a language model yet",
    "49": "an upgrade needs the packages of four versions of RabbitMQ, of which this machine has one",
}
"""Rows that are not tried anywhere, with the reason."""

NEEDS: dict[str, tuple[bool, str]] = {
    **dict.fromkeys(("35", "40"), (os.geteuid() == 0, "a small file system is mounted as root only")),
    **dict.fromkeys(("42", "43"), (bool(levers.FAKETIME), "libfaketime is not installed (apt-get install faketime)")),
    **dict.fromkeys(("17", "18"), (levers.RABBITMQCTL.exists(), "rabbitmqctl is not where Debian has it")),
}
"""What a row needs of this machine, whether it has it, and what is missing if not."""


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rows", default="", help="rows by number, separated by commas; all if none is named")
    parser.add_argument("--seed", type=int, default=None, help="begin with this seed instead of a random one")
    parser.add_argument("--runs", type=int, default=1, help="how often each row is tried, each time with the next seed")
    parser.add_argument("--size", type=int, default=None, help="least number of jobs in each row")
    parser.add_argument("--report", type=Path, default=None, help="write the table (.md) or the data (.json) here")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    parser.add_argument("--list", action="store_true", help="list the rows")
    return parser.parse_args(given)


def chosen(text: str) -> list[matrix.Row]:
    """The rows that a list of numbers names; a number names its variants as well (9 names 9a and 9b)."""
    if not text:
        return list(matrix.ROWS.values())
    found: list[matrix.Row] = []
    for part in text.split(","):
        rows = [row for key, row in matrix.ROWS.items() if key == part or key.rstrip("abcdefgh") == part]
        if not rows:
            known = ", ".join([*matrix.ROWS, *LEFT_OUT])
            raise SystemExit(f"--rows: '{part}' is no row: choose from {known}")
        found += rows
    return found


async def one(world: World, row: matrix.Row, seed: int, size: int | None) -> matrix.Result:
    """Tries a row and says what came of it."""
    result = await matrix.run(world, row, seed, size)
    sys.stdout.write(report.line(result) + "\n")
    sys.stdout.flush()
    return result


def quieten(path: Path) -> None:
    """What the libraries say while their servers are killed goes to a file."""
    logging.basicConfig(filename=path)
    log = path.open("a", buffering=1)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(log))


def possible(rows: Sequence[matrix.Row]) -> tuple[list[matrix.Row], dict[str, str]]:
    """The rows that this machine can run, and the reasons for the others."""
    lacking = {row.key: NEEDS[row.key][1] for row in rows if not NEEDS.get(row.key, (True, ""))[0]}
    return [row for row in rows if row.key not in lacking], lacking


def report_on(
    seed: int,
    tried: Callable[[World], Coroutine[None, None, list[matrix.Result]]],
    left_out: Mapping[str, str],
    path: Path | None,
    *,
    keep: bool,
) -> int:
    """Tries rows on servers of the suite's own and reports; 1 if one failed, and then the logs are kept."""
    # The stages that write the side-effect log are found as another package's would be.
    sys.path.append(str(launcher.PLUGINS))
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.chmod(0o755)
    quieten(folder / "suite.log")
    sys.stdout.write(f"seed {seed}, logs in {folder}\n")
    sys.stdout.flush()
    servers = Servers(folder / "servers")
    with servers.running() as found:
        results = asyncio.run(tried(World(found, servers, folder)))
    sys.stdout.write("\n" + report.table(results, left_out))
    if path is not None:
        report.write(path, results, left_out)
    passed = all(result.passed for result in results)
    if passed and not keep:
        shutil.rmtree(folder)
    return 0 if passed else 1


def main() -> int:
    """Runs what the command line asks for; 1 if a row failed."""
    given = arguments()
    rows, lacking = possible(chosen(given.rows))
    if given.list:
        sys.stdout.write("".join(f"{row.key:>4}  {row.fault} ({row.method})\n" for row in rows))
        return 0
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed

    async def tried(world: World) -> list[matrix.Result]:
        return [await one(world, row, seed + run, given.size) for row in rows for run in range(given.runs)]

    left_out = lacking if given.rows else {**LEFT_OUT, **lacking}
    return report_on(seed, tried, left_out, given.report, keep=given.keep)


if __name__ == "__main__":
    sys.exit(main())
