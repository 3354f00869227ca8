"""The factory of one home folder: what processes it has, and when they are ready."""

import asyncio
import socket
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import aiohttp

from contracts import intelligence, registry
from contracts.errors import FactoryError
from infra import settings
from infra.local import control, plan, processes

CLIENT = "demo"
"""The client that a factory on a machine of one's own begins with; it may run everything."""

FETCHER = intelligence.FEED_FETCHER.name
FETCHER_CONCURRENCY = 16
"""Fetching waits for other people's servers most of the time."""

READY_SECONDS = 90.0
POLL_SECONDS = 0.1
HEALTH_PORT = "--health-port"
FETCH_ALLOW = "FACTORY_FETCH_ALLOW"


def process_specs(
    workers: int = 1, fetch_allow: Iterable[str] = (), concurrency: int | None = None
) -> list[plan.ProcessSpec]:
    """One coordinator and ``workers`` processes of each kind: those that fetch feeds, and those that do the rest.

    ``fetch_allow`` lists endpoints such as ``127.0.0.1:8123`` that may be fetched from though they are not public.
    """
    rest = sorted(set(registry.specs()) - {FETCHER})
    allowed = {FETCH_ALLOW: ",".join(sorted(fetch_allow))}
    few = () if concurrency is None else ("--concurrency", str(concurrency))
    specs = [
        plan.ProcessSpec("prepare", (sys.executable, "-m", "producer.cli", "prepare"), order=-10, once=True),
        _consumer("coordinator", ["coordinator"], {}, order=0),
    ]
    for number in range(1, workers + 1):
        suffix = "" if workers == 1 else f"-{number}"
        fetching = ["worker", FETCHER, "--concurrency", str(FETCHER_CONCURRENCY)]
        specs.append(_consumer(f"worker-feeds{suffix}", fetching, allowed, order=10))
        specs.append(_consumer(f"worker{suffix}", ["worker", *rest, *few], allowed, order=10))
    return specs


def _consumer(name: str, arguments: list[str], environment: Mapping[str, str], order: int) -> plan.ProcessSpec:
    port = _free_port()
    argv = (sys.executable, "-m", "consumers", *arguments, HEALTH_PORT, str(port))
    return plan.ProcessSpec(name, argv, environment=environment, order=order, health_port=port)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_up(home: Path) -> bool:
    """Whether a supervisor of this home folder runs and everything was started."""
    rows = control.status(home)
    return bool(rows) and rows[0].state == "up"


def planned(home: Path) -> list[plan.ProcessSpec]:
    """The processes that the supervisor of this home folder was told to run; none where it never was."""
    return plan.recall(home) if (home / plan.FILE).exists() else []


def allowed(home: Path) -> frozenset[str]:
    """The endpoints that the running factory's workers may fetch from though they are not public."""
    listed = [spec.environment.get(FETCH_ALLOW, "") for spec in planned(home) if FETCHER in spec.argv]
    return frozenset(entry for value in listed for entry in value.split(",") if entry)


def health_ports(specs: Sequence[plan.ProcessSpec]) -> dict[str, int]:
    """Where each process tells how it is, by the name of the process."""
    return {spec.name: spec.health_port for spec in specs if spec.health_port is not None}


async def faults(session: aiohttp.ClientSession, port: int) -> str | None:
    """Why a process is not ready, None if it is."""
    try:
        async with session.get(f"http://127.0.0.1:{port}/ready") as answer:
            if answer.status == 200:
                return None
            said = await answer.json()
            return "; ".join(str(reason) for reason in said["faults"].values())
    except (aiohttp.ClientError, TimeoutError):
        return "does not answer"


async def health(home: Path) -> dict[str, str | None]:
    """Why each process of this home folder is not ready, None for each that is."""
    ports = health_ports(planned(home))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        found = await asyncio.gather(*(faults(session, port) for port in ports.values()))
    return dict(zip(ports, found, strict=True))


async def await_ready(home: Path) -> None:
    """Returns when coordinator and workers are ready; raises StackError with the reason and the end of the log."""
    deadline = time.monotonic() + READY_SECONDS
    while waiting := {name: reason for name, reason in (await health(home)).items() if reason is not None}:
        if time.monotonic() > deadline:
            name, reason = next(iter(waiting.items()))
            log = processes.tail(home / "log" / f"{name}.log")
            raise processes.StackError(f"{name} is not ready after {READY_SECONDS:g} s: {reason}\n{log}")
        await asyncio.sleep(POLL_SECONDS)


def start(around: settings.Surroundings, specs: Sequence[plan.ProcessSpec]) -> bool:
    """Brings the factory up in the background and waits until its processes are ready; False if it was up already."""
    if is_up(around.home):
        return False
    control.up(around, specs)
    asyncio.run(await_ready(around.home))
    return True


def stop(home: Path) -> list[str]:
    """Stops everything of this home folder; returns the names of what ran."""
    return control.down(home)


def refuse_if_up(home: Path) -> None:
    """Raises FactoryError where a factory of this home folder runs already."""
    if is_up(home):
        raise FactoryError(f"the factory of {home} runs already; see 'factory status', or stop it with 'factory down'")
