"""What an operator, or an accident, does to the servers: the broker's commands and API, the database's, small disks."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import asyncpg
import psutil

from contracts import messages, topology
from infra.delivery import Delivery
from infra.settings import Settings
from tests import factories

RABBITMQCTL = Path("/usr/lib/rabbitmq/bin/rabbitmqctl")
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


async def rabbitmqctl(pid: int, *arguments: str) -> str:
    """Runs a command of the broker with the environment of the node that runs as this process."""
    process = await asyncio.create_subprocess_exec(
        str(RABBITMQCTL),
        *arguments,
        env=psutil.Process(pid).environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, f"rabbitmqctl {' '.join(arguments)}: {said.decode()}"
    return said.decode()


async def manage(settings: Settings, method: str, path: str, body: object = None) -> Any:
    """One request to the broker's API; ``{vhost}`` in the path stands for the factory's virtual host."""
    parts = urlsplit(settings.amqp_admin_url)
    vhost = quote(urlsplit(settings.amqp_url).path[1:], safe="")
    headers = {"Authorization": aiohttp.encode_basic_auth(parts.username or "", parts.password or "")}
    url = f"http://{parts.hostname}:{parts.port}/api/{path.replace('{vhost}', vhost)}"
    async with aiohttp.ClientSession(headers=headers) as session, session.request(method, url, json=body) as answer:
        answer.raise_for_status()
        return await answer.json() if answer.content_type == "application/json" else None


async def unbind(settings: Settings, exchange: str, queue: str, key: str) -> None:
    """Removes a binding."""
    await manage(settings, "DELETE", f"bindings/{{vhost}}/e/{exchange}/q/{queue}/{quote(key, safe='')}")


@contextlib.asynccontextmanager
async def session(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the database beside the factory's."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int, owner: tuple[int, int] = (0, 0)) -> Iterator[Path]:
    """A file system of this size over a folder, as root; whatever is on it goes with it."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "chaos", str(folder)], check=True)
    try:
        os.chown(folder, *owner)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leaves no room on the file system of a folder; the room comes back when the file goes."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(b"\0" * 65536):
            pass
    return ballast


async def republish(client: factories.Client, copy: Delivery, exchange: str, key: str) -> None:
    """Publishes a message again as it was."""
    headers = {name: value for name, value in copy.headers.items() if isinstance(value, str | int | float)}
    await client.publisher.publish(
        exchange,
        key,
        copy.type or "",
        copy.body,
        correlation_id=copy.correlation_id,
        reply_to=copy.reply_to,
        user_id=client.connection.user if copy.type == messages.SubmitJob.__name__ else None,
        headers={**headers, "copy": 1},
    )


COPIED = (topology.JOBS, topology.STAGES, topology.EVENTS)
"""The exchanges through which everything passes that has an effect."""
