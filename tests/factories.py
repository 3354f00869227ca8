"""A factory of its own for one test: database, virtual host, bucket, and processes that the test may kill."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import asyncpg

from contracts import encoding, messages, templates, topology
from contracts.tiers import Tier
from infra import broker, database, jobs, publisher
from infra import templates as stored_templates
from infra.delivery import Delivery
from infra.settings import Settings
from producer import provision
from tests import launcher
from tests.launcher import PLUGINS, ROOT, Process

PATIENCE = 60.0
"""Seconds until a condition that should come true is given up; not a measure of speed."""


async def eventually(condition: Callable[[], Awaitable[Any]], what: str, patience: float = PATIENCE) -> Any:
    """The first true value of the condition; fails with ``what`` if it never comes."""
    until = time.monotonic() + patience
    async for _ in _ticks():
        if found := await condition():
            return found
        assert time.monotonic() < until, f"this never came true: {what}"
    return None


async def _ticks() -> AsyncIterator[None]:
    """Moments at which to look again; what is awaited happens in other processes and cannot wake this one.

    Who waits for long looks less often, since each look costs the processes that are waited for their time.
    """
    pause = 0.01
    while True:
        yield
        await asyncio.sleep(pause)
        pause = min(0.1, 1.3 * pause)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclasses.dataclass
class Client:
    """Somebody who publishes jobs and reads the answers."""

    connection: broker.Connection
    publisher: publisher.Publisher
    reply_queue: str
    answers: list[tuple[messages.Message, Delivery]] = dataclasses.field(default_factory=list)

    async def publish(
        self, body: bytes, *, type_name: str = "SubmitJob", tier: Tier = Tier.BASIC, **properties: Any
    ) -> None:
        """Publishes a body as a job."""
        given = {"reply_to": self.reply_queue, "user_id": self.connection.user, **properties}
        await self.publisher.publish(topology.JOBS, topology.job_key(tier), type_name, body, **given)

    async def submit(self, template: str, client: str = "acme", key: str = "", **fields: Any) -> str:
        """Publishes a job and returns its submit key."""
        job = messages.SubmitJob(submit_key=key or uuid.uuid4().hex, client=client, template=template, **fields)
        await self.publish(encoding.encode(job))
        return job.submit_key

    async def answered(self, kind: type[messages.Message], number: int = 1, patience: float = PATIENCE) -> list[Any]:
        """The first ``number`` answers of a kind."""

        async def enough() -> list[messages.Message] | None:
            found = [message for message, _ in self.answers if isinstance(message, kind)]
            return found if len(found) >= number else None

        found: list[Any] = await eventually(enough, f"{number} x {kind.__name__}", patience)
        return found


class Factory:
    """Servers' corners for one test, and the processes that work in them."""

    def __init__(self, settings: Settings, environment: Mapping[str, str], folder: Path, pool: database.Pool) -> None:
        self.settings = settings
        self.environment = dict(environment)
        self.folder = folder
        self.pool = pool
        self.effects = folder / "effects.log"
        self.processes: list[Process] = []

    def start(self, *arguments: str, **environment: str) -> Process:
        """Starts what ``python -m consumers ...`` runs; its log is in the test's folder."""
        name = f"{arguments[0]}-{len(self.processes)}.log"
        process = launcher.running().start(arguments, {**self.environment, **environment}, self.folder / name)
        self.processes.append(process)
        return process

    def coordinator(self, **environment: str) -> Process:
        """Starts a coordinator."""
        return self.start("coordinator", **environment)

    def worker(self, *stages: str, concurrency: int = 8, **environment: str) -> Process:
        """Starts a worker of these stages."""
        return self.start("worker", *(stages or ("effect",)), "--concurrency", str(concurrency), **environment)

    def log(self, process: Process) -> str:
        """What a process has logged."""
        index = self.processes.index(process)
        (path,) = self.folder.glob(f"*-{index}.log")
        return path.read_text()

    def stop(self) -> None:
        """Kills what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
        for process in self.processes:
            process.wait()

    async def template(self, name: str, steps: Sequence[Mapping[str, Any]], **fields: Any) -> None:
        """Stores a template whose steps write to the side-effect log."""
        logged = [
            {"stage": "effect", **step, "parameters": {"log": f"'{self.effects}'", **step.get("parameters", {})}}
            for step in steps
        ]
        template = templates.parse({"name": name, "steps": logged, **fields})
        async with self.pool.acquire() as connection:
            await stored_templates.apply(connection, template)

    async def client(self, name: str = "acme", tier: Tier = Tier.BASIC, amqp_user: str | None = None) -> None:
        """Adds a client."""
        async with self.pool.acquire() as connection:
            await jobs.save_client(connection, name, name.title(), tier, amqp_user)

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Rows of the database."""
        async with self.pool.acquire() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(query, *arguments)
            return rows

    async def statuses(self) -> dict[str, int]:
        """How many executions stand in each status."""
        rows = await self.fetch("SELECT status, count(*)::int AS n FROM executions GROUP BY status")
        return {row["status"]: row["n"] for row in rows}

    async def all_over(self, number: int, patience: float = PATIENCE) -> dict[str, int]:
        """The statuses once ``number`` executions are over."""

        async def over() -> dict[str, int] | None:
            found = await self.statuses()
            done = sum(n for status, n in found.items() if status in ("completed", "partial", "failed", "cancelled"))
            return found if done >= number else None

        found: dict[str, int] = await eventually(over, f"{number} executions are over", patience)
        return found

    def runs(self) -> list[tuple[str, str, str, str, str]]:
        """What the side-effect log says: execution, epoch, step, shard, attempt of each run."""
        if not self.effects.exists():
            return []
        found = [tuple(line.split()[:5]) for line in self.effects.read_text().splitlines()]
        return [(a, b, c, d, e) for a, b, c, d, e in found]

    @contextlib.asynccontextmanager
    async def connect(self, url: str | None = None) -> AsyncIterator[Client]:
        """A client with a reply queue."""
        async with broker.connect(url or self.settings.amqp_url, name="test") as connection:
            queue = await connection.declare_reply_queue()
            client = Client(connection, await connection.publisher(), queue)

            def receive(delivery: Delivery) -> None:
                client.answers.append((encoding.decode(delivery.type, delivery.body), delivery))

            # Answers are never acknowledged, so no number of them may be too many.
            await connection.consume(queue, receive, prefetch=0)
            yield client


@contextlib.asynccontextmanager
async def make(stack: Settings, folder: Path) -> AsyncIterator[Factory]:
    """A provisioned factory without processes, gone with everything it did when the test ends."""
    async with corner(stack) as settings:
        environment = {**variables(settings), "PYTHONPATH": f"{ROOT}{os.pathsep}{PLUGINS}"}
        await provision.migrate(settings)
        async with database.connect(settings.database_url, application="test", size=4) as pool:
            factory = Factory(settings, environment, folder, pool)
            try:
                yield factory
            finally:
                factory.stop()


@contextlib.asynccontextmanager
async def corner(stack: Settings) -> AsyncIterator[Settings]:
    """A database and a virtual host of one's own, both empty, and the name of a bucket; gone at the end."""
    name = f"t{uuid.uuid4().hex[:12]}"
    await _create(stack, name)
    try:
        yield dataclasses.replace(
            stack,
            amqp_url=stack.amqp_url.rstrip("/") + f"/{name}",
            database_url=_database(stack.database_url, name),
            worker_database_url=_database(stack.worker_database_url, name),
            s3_bucket=name,
        )
    finally:
        await _remove(stack, name)


def _database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def variables(settings: Settings) -> dict[str, str]:
    """The environment of the factory's processes."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("FACTORY_")},
        "FACTORY_HOME": str(settings.home),
        "FACTORY_AMQP_URL": settings.amqp_url,
        "FACTORY_AMQP_ADMIN_URL": settings.amqp_admin_url,
        "FACTORY_DATABASE_URL": settings.database_url,
        "FACTORY_WORKER_DATABASE_URL": settings.worker_database_url,
        "FACTORY_S3_ENDPOINT": settings.s3_endpoint,
        "FACTORY_S3_ACCESS_KEY": settings.s3_access_key,
        "FACTORY_S3_SECRET_KEY": settings.s3_secret_key,
        "FACTORY_S3_BUCKET": settings.s3_bucket,
    }


async def _create(stack: Settings, name: str) -> None:
    await _manage(stack, "PUT", f"vhosts/{name}")
    user = quote(urlsplit(stack.amqp_url).username or "", safe="")
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    await _manage(stack, "PUT", f"permissions/{name}/{user}", rights)
    await _execute(stack, f'CREATE DATABASE "{name}"')


async def _remove(stack: Settings, name: str) -> None:
    await _manage(stack, "DELETE", f"vhosts/{name}")
    await drop_database(stack.database_url, name)


async def drop_database(url: str, name: str) -> None:
    """Drops a database as soon as the sessions of the processes that were killed have ended.

    The server may not be forced to end them: that takes the rights of every role that has one.
    """

    async def dropped() -> bool:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(f'DROP DATABASE "{name}"')
        except asyncpg.ObjectInUseError:
            return False
        finally:
            await connection.close()
        return True

    await eventually(dropped, f"nobody uses database '{name}' any more")


async def _execute(stack: Settings, statement: str) -> None:
    connection = await asyncpg.connect(stack.database_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def _manage(stack: Settings, method: str, path: str, body: object = None) -> None:
    parts = urlsplit(stack.amqp_admin_url)
    headers = {"Authorization": aiohttp.encode_basic_auth(parts.username or "", parts.password or "")}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, f"http://{parts.hostname}:{parts.port}/api/{path}", json=body) as answer,
    ):
        answer.raise_for_status()


def terminate(process: Process, patience: float = 30.0) -> int:
    """Asks a process to end in good order and returns its exit status."""
    process.send_signal(signal.SIGTERM)
    return process.wait(patience)
