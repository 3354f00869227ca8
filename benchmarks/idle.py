"""What a factory costs that has nothing to do: queries and transactions a minute, CPU seconds a minute by process.

Queries are counted where they pass: between the factory's processes and Postgres stands a relay that reads the frontend
protocol and counts what is executed, by statement. Transactions are the database's own count (``pg_stat_database``).
"""

import asyncio
import collections
import contextlib
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psutil

from benchmarks import children, factory, usage
from benchmarks.systems import PLUGINS, ROOT
from infra import database, statements
from infra.local import stack as servers
from infra.settings import Settings
from tests import factories

MINUTE = 60.0
MOST = 12
"""Statements that are named."""

STARTUP = 196608
"""Version 3.0 of the protocol; what a connection asks for before that, such as encryption, is followed by it."""

TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1"
ALIVE = "SELECT count(*) FROM worker_instances"


@dataclasses.dataclass(frozen=True, slots=True)
class Corner:
    """A database and a virtual host of one's own, ready for the factory's processes, none of which runs yet."""

    settings: Settings
    environment: dict[str, str]
    pool: database.Pool
    log: Path


@contextlib.asynccontextmanager
async def corner(stack: Settings, **variables: str) -> AsyncIterator[Corner]:
    """A corner of a stack in which the benchmark's stage is installed; ``variables`` are for its processes."""
    async with factories.corner(stack) as settings:
        path = {"PYTHONPATH": f"{ROOT}{os.pathsep}{PLUGINS}"}
        environment = {**factories.variables(settings), **path, "FACTORY_LOG_LEVEL": "warning", **variables}
        migrate = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "producer.cli", "migrate"), env=environment, stdout=asyncio.subprocess.DEVNULL
        )
        assert await migrate.wait() == 0, "the corner could not be prepared"
        with tempfile.TemporaryDirectory() as folder:
            async with database.connect(settings.database_url, application="benchmark", size=4) as pool:
                yield Corner(settings, environment, pool, Path(folder) / "log")


class Tap:
    """Counts what one connection executes, from the bytes that its client sends."""

    def __init__(self, counted: collections.Counter[bytes]) -> None:
        self._counted = counted
        self._texts: dict[bytes, bytes] = {}
        self._bound = b""
        self._buffer = bytearray()
        self._begun = False

    def hear(self, sent: bytes) -> None:
        """Takes in what was sent and counts the messages that are complete."""
        self._buffer += sent
        # Only the first messages of a connection have no letter before their length.
        while len(self._buffer) >= (5 if self._begun else 8):
            letter = int(self._begun)
            length = letter + int.from_bytes(self._buffer[letter : letter + 4])
            if len(self._buffer) < length:
                break
            message = bytes(self._buffer[:length])
            del self._buffer[:length]
            if self._begun:
                self._count(message[:1], message[5:])
            else:
                self._begun = int.from_bytes(message[4:8]) == STARTUP

    def _count(self, kind: bytes, body: bytes) -> None:
        if kind == b"P":
            name, text, *_ = body.split(b"\0", 2)
            self._texts[name] = text
        elif kind == b"B":
            _, self._bound, *_ = body.split(b"\0", 2)
        elif kind == b"E":
            self._counted[self._texts.get(self._bound, b"")] += 1
        elif kind == b"Q":
            self._counted[body.rstrip(b"\0")] += 1


@contextlib.asynccontextmanager
async def tapped(url: str, counted: collections.Counter[bytes]) -> AsyncIterator[int]:
    """A port of loopback that leads to the database of a URL and counts what is executed through it."""
    there = urlsplit(url)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tap: Tap | None) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            while sent := await reader.read(1 << 16):
                if tap:
                    tap.hear(sent)
                writer.write(sent)
                await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(there.hostname, there.port)
        await asyncio.gather(relay(reader, far_writer, Tap(counted)), relay(far_reader, writer, None))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield int(server.sockets[0].getsockname()[1])


def through(url: str, port: int) -> str:
    """The same URL by way of a port of loopback."""
    parts = urlsplit(url)
    address, _, _ = parts.netloc.rpartition(":")
    return parts._replace(netloc=f"{address}:{port}").geturl()


def named(counted: Mapping[bytes, int], minutes: float) -> dict[str, float]:
    """The statements that are executed most, a minute, by the names that the project's SQL gives them."""
    names = {text: f"{topic}.{name}" for topic in statements.topics() for name, text in statements.load(topic).items()}
    found: collections.Counter[str] = collections.Counter()
    for text, number in counted.items():
        found[names.get(text.decode().strip(), " ".join(text.decode().split())[:60])] += number
    return {name: round(number / minutes, 1) for name, number in found.most_common(MOST)}


class Spending:
    """CPU seconds of processes that were started, by their names, and of the servers, since the last look."""

    def __init__(self, home: Path, processes: Mapping[str, int]) -> None:
        self._meters = {name: usage.Meter(home, pid) for name, pid in processes.items()}
        store = str(home / "s3")
        every = psutil.process_iter(["cmdline"])
        self._store = [process for process in every if any(store in it for it in process.info["cmdline"] or ())]
        self._last = self.total()

    def total(self) -> dict[str, float]:
        """Since each process began; what runs below a worker, which parses feeds, is a part of its own."""
        found: dict[str, float] = {"objects": sum(sum(process.cpu_times()[:2]) for process in self._store)}
        for name, meter in self._meters.items():
            cpu = meter.read().cpu
            found |= {name: cpu["load"], "broker": cpu["broker"], "database": cpu["database"]}
            if below := cpu["workers"]:
                found["parsing"] = found.get("parsing", 0.0) + below
        return found

    def since(self) -> dict[str, float]:
        """CPU seconds since the last look or the beginning."""
        before, self._last = self._last, self.total()
        return {part: spent - before.get(part, 0.0) for part, spent in self._last.items()}


def commands(workers: int) -> dict[str, Sequence[str]]:
    """A coordinator and workers, by the names under which their cost is told."""
    coordinator, *others = factory.commands(workers, concurrency="8")
    return {"coordinator": coordinator, **{f"worker {number}": it for number, it in enumerate(others, 1)}}


async def measure(stack: Settings, seconds: float = MINUTE, settle: float = 20.0, workers: int = 2) -> dict[str, Any]:
    """The cost of one coordinator and some workers, over so many seconds after they have settled."""
    counted: collections.Counter[bytes] = collections.Counter()
    async with corner(stack) as place, tapped(place.settings.database_url, counted) as port:
        for name in ("FACTORY_DATABASE_URL", "FACTORY_WORKER_DATABASE_URL"):
            place.environment[name] = through(place.environment[name], port)
        wanted = commands(workers)
        with children.started(list(wanted.values()), place.environment, place.log) as started:

            async def alive() -> bool:
                return bool(await place.pool.fetchval(ALIVE) == workers)

            await factories.eventually(alive, "all workers are known")
            await asyncio.sleep(settle)
            pids = {name: process.pid for name, process in zip(wanted, started, strict=True)}
            return await _watch(stack, place.settings, counted, pids, seconds)


async def _watch(
    stack: Settings, own: Settings, counted: collections.Counter[bytes], pids: Mapping[str, int], seconds: float
) -> dict[str, Any]:
    spending = Spending(own.home, pids)
    began = await _transactions(stack, own)
    counted.clear()
    await asyncio.sleep(seconds)
    executed = collections.Counter(counted)
    spent, transactions = spending.since(), await _transactions(stack, own) - began
    minutes = seconds / MINUTE
    return {
        "seconds": seconds,
        "workers": len(pids) - 1,
        "queries_per_minute": round(executed.total() / minutes, 1),
        "transactions_per_minute": round(transactions / minutes, 1),
        "statements_per_minute": named(executed, minutes),
        "cpu_seconds_per_minute": {
            part: round(value / minutes, 2) for part, value in sorted(spent.items(), key=lambda item: -item[1])
        },
    }


async def _transactions(stack: Settings, own: Settings) -> int:
    """Asked from another database, so that asking is not counted."""
    connection = await asyncpg.connect(stack.database_url)
    try:
        return int(await connection.fetchval(TRANSACTIONS, urlsplit(own.database_url).path.lstrip("/")))
    finally:
        await connection.close()


def main() -> None:
    """Measures on servers of its own and prints what was found; the first argument is the seconds to watch."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else MINUTE
    with tempfile.TemporaryDirectory() as folder, servers.temporary(Path(folder) / "servers") as stack:
        sys.stdout.write(json.dumps(asyncio.run(measure(stack, seconds, min(20.0, seconds))), indent=1) + "\n")


if __name__ == "__main__":
    main()
