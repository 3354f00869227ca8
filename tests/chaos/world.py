"""Where rows run: a factory of its own for each, which reaches every server through a proxy."""

import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from infra import jobs
from infra.settings import Settings
from tests import factories, proxy
from tests.chaos import crew, history, load, servers
from tests.chaos.trial import Trial

LEASE = {"FACTORY_LEASE_SECONDS": "6", "FACTORY_HEARTBEAT_SECONDS": "1", "FACTORY_SWEEP_SECONDS": "0.5"}
VARIABLES = {
    servers.RABBITMQ: ("FACTORY_AMQP_URL",),
    servers.POSTGRES: ("FACTORY_DATABASE_URL", "FACTORY_WORKER_DATABASE_URL"),
    servers.S3: ("FACTORY_S3_ENDPOINT",),
}


@dataclasses.dataclass(frozen=True)
class World:
    """Where rows run: the servers' settings, the servers themselves where a row may touch them, and a folder."""

    settings: Settings
    servers: servers.Servers | None
    folder: Path


async def prepare(factory: factories.Factory) -> None:
    """What every row needs: clients, the chain of five steps, and a database that writes its history."""
    async with factory.pool.acquire() as connection:
        await connection.execute(history.INSTALL)
        for name, tier in load.CLIENTS.items():
            await jobs.save_client(connection, name, name.title(), tier, None)
    await factory.template("chain", load.CHAIN)


@contextlib.asynccontextmanager
async def begin(world: World, seed: int, size: int, *, quick: bool) -> AsyncIterator[Trial]:
    """A trial whose processes reach every server through a proxy; all of it is gone afterwards."""
    folder = world.folder / f"trial-{time.monotonic_ns()}"
    folder.mkdir(parents=True)
    async with (
        contextlib.AsyncExitStack() as cleanup,
        factories.make(world.settings, folder) as factory,
        contextlib.AsyncExitStack() as stack,
    ):
        proxies: dict[str, proxy.Proxy] = {}
        for name, variables in VARIABLES.items():
            address = urlsplit(factory.environment[variables[0]])
            between = proxies[name] = await stack.enter_async_context(
                proxy.to(address.hostname or "", address.port or 0)
            )
            for variable in variables:
                factory.environment[variable] = _through(factory.environment[variable], between.port)
        factory.environment.update(LEASE)
        await prepare(factory)
        members = await stack.enter_async_context(crew.of(factory))
        yield Trial(world.servers, seed, size, factory, members, proxies, cleanup, quick=quick)


def _through(url: str, port: int) -> str:
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login}{at}127.0.0.1:{port}").geturl()
