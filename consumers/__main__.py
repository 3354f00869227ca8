"""``python -m consumers coordinator`` and ``python -m consumers worker [STAGE...]``."""

import argparse
import asyncio
import gc
import importlib
import signal
import sys

import uvloop

from contracts.errors import FactoryError
from infra import log, settings

PROCESSES = {"coordinator": "consumers.coordinator_process", "worker": "consumers.worker_process"}
"""Each process loads only what it needs: the coordinator has no use for what stages analyse with."""


GARBAGE = (10_000, 20, 50)
"""Thresholds of Python's garbage collection by generation."""


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m consumers", description=__doc__)
    commands = parser.add_subparsers(dest="process", required=True)
    coordinator = commands.add_parser("coordinator", help="advance executions")
    working = commands.add_parser("worker", help="do the tasks of some stages, all if none is named")
    working.add_argument("stages", nargs="*", metavar="STAGE")
    working.add_argument("--concurrency", type=int, default=None, help="tasks done at the same time")
    for command in (coordinator, working):
        command.add_argument("--health-port", type=int, default=None, help="serve /health and /ready on this port")
    return parser.parse_args(arguments)


async def _run(configured: settings.Settings, arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    log.tell_unhandled(asyncio.get_running_loop())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    run = importlib.import_module(PROCESSES[arguments.process]).run
    # What was loaded stays. Every message makes objects that die young, and by itself Python would go through all that
    # live so often that it takes a tenth of a busy process's time.
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    given = {name: value for name, value in vars(arguments).items() if name in ("stages", "concurrency")}
    await run(configured, arguments.health_port, stop, **given)


def main() -> int:
    """Runs one process until it is told to stop; returns its exit status."""
    arguments = _arguments(sys.argv[1:])
    try:
        configured = settings.from_process()
        log.configure(arguments.process, configured.log_level, configured.log_format, configured.secrets)
        uvloop.run(_run(configured, arguments))
    except FactoryError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
