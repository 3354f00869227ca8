"""``python -m consumers coordinator`` and ``python -m consumers worker [STAGE...]``: the processes, put together."""

import argparse
import asyncio
import datetime
import signal
import sys

import uvloop

from consumers import handlers
from consumers.coordinator import service
from consumers.coordinator.manifests import Store
from consumers.runtime import equipment, worker
from contracts.errors import FactoryError
from contracts.messages import TaskKey
from contracts.refs import DataRef
from infra import documents, health, log, objects, settings
from infra.settings import Settings


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m consumers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    coordinator = commands.add_parser("coordinator", help="advance executions")
    working = commands.add_parser("worker", help="do the tasks of some stages, all if none is named")
    working.add_argument("stages", nargs="*", metavar="STAGE")
    working.add_argument("--concurrency", type=int, default=None, help="tasks done at the same time")
    for command in (coordinator, working):
        command.add_argument("--health-port", type=int, default=None, help="serve /health and /ready on this port")
    return parser.parse_args(arguments)


async def _coordinator(configured: Settings, port: int | None) -> None:
    state = health.Health("coordinator", {"session": "starting"})
    async with (
        health.serve(state, port),
        objects.of(configured, threads=4) as bucket,
    ):
        await service.run(configured, _store(bucket), _stop_on_signals(), state)


def _store(bucket: objects.Objects) -> Store:
    """How the coordinator writes manifests; it has no way to read one."""

    async def store(key: TaskKey, client: str, day: datetime.date, document: bytes) -> DataRef:
        return await bucket.put(documents.Place(client, day, key), document, schema="Inputs")

    return store


async def _worker(configured: Settings, stages: list[str], concurrency: int, port: int | None) -> None:
    state = health.Health("worker", {"session": "starting"})
    chosen = handlers.choose(stages)
    async with health.serve(state, port), equipment.equip(configured) as equipped:
        await worker.run(configured, equipped, chosen, concurrency, _stop_on_signals(), state)


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def main() -> int:
    """Runs one process until it is told to stop; returns its exit status."""
    arguments = _arguments(sys.argv[1:])
    try:
        configured = settings.from_process()
        log.configure(arguments.command, configured.log_level, configured.log_format)
        if arguments.command == "coordinator":
            uvloop.run(_coordinator(configured, arguments.health_port))
        else:
            concurrency = arguments.concurrency or configured.worker_concurrency
            uvloop.run(_worker(configured, arguments.stages, concurrency, arguments.health_port))
    except FactoryError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
