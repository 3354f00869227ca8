"""A Prometheus of a test's own, which collects quickly and judges by the rules as they are, in shorter times."""

import asyncio
import contextlib
import dataclasses
import json
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import psutil
import yaml

from infra.local import processes, prometheus, rabbitmq
from infra.settings import Settings
from tests.factories import Factory, eventually, free_port
from tests.launcher import Process

INTERVAL = 1.0
"""Seconds between two looks at what is measured, and between two looks at the rules."""

QUICKER = 60.0
"""By how much the times in the rules are divided: five minutes become five seconds."""

PATIENCE = 120.0
LOOKS = 20

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"\b(\d+)([smhd])\b")

LIMITS = {"factory:queue_age_limit:seconds": QUICKER, "factory:hop_limit:seconds": 8.0}
"""By how much recorded limits are divided."""


def program(name: str) -> str:
    """The path of a program that ``make test`` installs."""
    found = shutil.which(name)
    assert found is not None, f"{name} is not on PATH: run 'make test', or install the package prometheus"
    return found


def broker_port(settings: Settings) -> int:
    """Where the broker of the test's stack tells its metrics."""
    kept = json.loads((settings.home / "rabbitmq" / "identity.json").read_text())
    assert set(kept["ports"]) == set(rabbitmq.PORTS)
    port: int = kept["ports"]["prometheus"]
    return port


def broker_pid(settings: Settings) -> int:
    """The process of the broker of the test's stack."""
    left = processes.left(settings.home / "rabbitmq")
    (found,) = (process for process in left if psutil.Process(process.pid).name() == "beam.smp")
    return found.pid


def quicker(folder: Path) -> list[Path]:
    """Copies of the rules in which every time is shorter."""
    copies = []
    for path in sorted(prometheus.RULES.glob("*.rules.yaml")):
        document = yaml.safe_load(path.read_text())
        for rule in (rule for group in document["groups"] for rule in group["rules"]):
            _hurry(rule)
        copy = folder / path.name
        copy.write_text(yaml.safe_dump(document))
        copies.append(copy)
    return copies


def _hurry(rule: dict[str, Any]) -> None:
    rule["expr"] = re.sub(r"(\[[^\]]+\]|offset \w+)", lambda found: _shortened(found[0]), rule["expr"])
    if "for" in rule:
        rule["for"] = _shortened(rule["for"])
    if (divisor := LIMITS.get(rule.get("record", ""))) is not None:
        rule["expr"] = re.sub(r"\d+", lambda found: str(float(found[0]) / divisor), rule["expr"])


def _shortened(text: str) -> str:
    return _SPAN.sub(lambda found: f"{round(int(found[1]) * _UNITS[found[2]] / QUICKER * 1000)}ms", text)


@dataclasses.dataclass(frozen=True)
class Monitor:
    """A Prometheus that runs, and ways to ask it."""

    url: str
    session: aiohttp.ClientSession

    async def ready(self) -> bool:
        """Whether it can be asked."""
        async with self.session.get(f"{self.url}/-/ready") as answer:
            return answer.status == 200

    async def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """The series that a query gives now, with their values; fails on a query that Prometheus refuses."""
        async with self.session.get(f"{self.url}/api/v1/query", params={"query": query}) as answer:
            found = await answer.json()
        assert found["status"] == "success", f"{query}: {found['error']}"
        result = found["data"]["result"]
        if found["data"]["resultType"] == "scalar":
            return [({}, float(result[1]))]
        return [(series["metric"], float(series["value"][1])) for series in result]

    async def names(self) -> set[str]:
        """Every metric that was ever collected or recorded."""
        async with self.session.get(f"{self.url}/api/v1/label/__name__/values") as answer:
            return set((await answer.json())["data"])

    async def firing(self) -> list[dict[str, str]]:
        """The labels of every alert that fires."""
        async with self.session.get(f"{self.url}/api/v1/alerts") as answer:
            alerts = (await answer.json())["data"]["alerts"]
        return [alert["labels"] for alert in alerts if alert["state"] == "firing"]

    async def fires(self, name: str, **labels: str) -> None:
        """Returns when an alert fires with these labels."""

        async def found() -> bool:
            return any({"alertname": name, **labels}.items() <= alert.items() for alert in await self.firing())

        await eventually(found, f"alert {name} {labels} fires", PATIENCE)

    async def clears(self, name: str, **labels: str) -> None:
        """Returns when no alert fires with these labels."""

        async def gone() -> bool:
            return not any({"alertname": name, **labels}.items() <= alert.items() for alert in await self.firing())

        await eventually(gone, f"alert {name} {labels} clears", PATIENCE)

    async def calm(self) -> None:
        """Returns when no alert fires."""

        async def silent() -> bool:
            return await self.firing() == []

        await eventually(silent, "no alert fires", PATIENCE)

    async def collected(self) -> None:
        """Returns when every target has answered."""

        async def up() -> bool:
            found = await self.ask("up")
            return bool(found) and all(value == 1 for _, value in found)

        await eventually(up, "every target answers Prometheus", PATIENCE)


@dataclasses.dataclass(frozen=True)
class Watched:
    """A factory whose processes tell what they measure at ports that are known beforehand."""

    factory: Factory
    ports: Mapping[str, int]

    def start(self, name: str, *arguments: str, **environment: str) -> Process:
        """Starts the process of this name at its port."""
        port = str(self.ports[name])
        return self.factory.start(*arguments, "--health-port", port, **environment)

    def coordinator(self, name: str = "coordinator", **environment: str) -> Process:
        """Starts the coordinator."""
        return self.start(name, "coordinator", **environment)

    def worker(self, *stages: str, name: str = "worker", concurrency: int = 8, **environment: str) -> Process:
        """Starts the worker."""
        chosen = stages or ("effect",)
        return self.start(name, "worker", *chosen, "--concurrency", str(concurrency), **environment)


@contextlib.asynccontextmanager
async def watch(factory: Factory, names: Sequence[str] = ("coordinator",)) -> AsyncIterator[tuple[Watched, Monitor]]:
    """A Prometheus that watches the broker and the processes of these names, which are still to be started."""
    ports = {name: free_port() for name in names}
    async with observe(factory, ports, hurried=True) as monitor:
        yield Watched(factory, ports), monitor


@contextlib.asynccontextmanager
async def observe(factory: Factory, ports: Mapping[str, int], *, hurried: bool) -> AsyncIterator[Monitor]:
    """A Prometheus that watches the broker, the database and processes at these ports; its rules may be quicker."""
    folder = factory.folder / "prometheus"
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        others = {"postgres": stack.enter_context(_exporter(factory, folder))}
        broker = broker_port(factory.settings)
        rules = quicker(folder) if hurried else None
        text = prometheus.configuration(ports, broker, others, interval=INTERVAL, rules=rules)
        (folder / "prometheus.yaml").write_text(text)
        port = stack.enter_context(_prometheus(folder))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            monitor = Monitor(f"http://127.0.0.1:{port}", session)
            await eventually(monitor.ready, "Prometheus is ready", PATIENCE)
            yield monitor


@contextlib.contextmanager
def _running(name: str, argv: Sequence[str], folder: Path, port: int, **environment: str) -> Any:
    process = processes.Process(
        name, argv, {"PATH": "/usr/bin:/bin", **environment}, folder=folder, log=folder / f"{name}.log", bound=True
    )
    process.launch()
    try:
        processes.wait_until(lambda: _answers(port), process, PATIENCE)
        yield port
    finally:
        process.kill()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _prometheus(folder: Path) -> contextlib.AbstractContextManager[int]:
    port = free_port()
    argv = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    found: contextlib.AbstractContextManager[int] = _running("prometheus", argv, folder, port)
    return found


def _exporter(factory: Factory, folder: Path) -> contextlib.AbstractContextManager[int]:
    port = free_port()
    argv = [program("prometheus-postgres-exporter"), f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    parts = urlsplit(factory.settings.database_url)
    query = f"{parts.query}&sslmode=disable" if parts.query else "sslmode=disable"
    address = parts._replace(query=query).geturl()
    found: contextlib.AbstractContextManager[int] = _running("exporter", argv, folder, port, DATA_SOURCE_NAME=address)
    return found


async def at_last(faults: Callable[[], Awaitable[list[str]]]) -> list[str]:
    """The faults that are left when there are no more looks; none as soon as a look finds none.

    What a process has measured is seen with its next answers, and a rate needs two of them.
    """
    left: list[str] = []
    for _ in range(LOOKS):
        left = await faults()
        if not left:
            return []
        await asyncio.sleep(2 * INTERVAL)
    return left


def promtool(*arguments: str) -> str:
    """What promtool says; fails with it where it finds a fault."""
    done = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"promtool {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr
