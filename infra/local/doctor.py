"""What `factory doctor` looks at: the machine, the local stack, and every server that settings name."""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import asyncpg
import minio
import urllib3

from infra import settings
from infra.local import control, processes, rabbitmq, servers

TIMEOUT_SECONDS = 5.0
FREE_BYTES = 2 * 1024**3
OLDEST_PYTHON = (3, 11)
START = "start the local stack with `factory up`, or correct"


@dataclass(frozen=True)
class Check:
    """One thing looked at; ``remedy`` says what to do and is empty when it is well."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


Extra = Callable[[settings.Settings], Awaitable[Sequence[Check]]]


async def checks(around: settings.Surroundings, extra: Sequence[Extra] = ()) -> list[Check]:
    """All checks in order, those of ``extra`` last; servers are asked only when settings name them all."""
    found = [_python(), _folder(around.home), _space(around.home)]
    if not around.names("rabbitmq") and around.rabbitmq_server is None:
        found.append(_rabbitmq_installed(f"{around.environ.get('PATH', '')}:{servers.PROGRAMS}"))
    found.extend(_parts(around.home))
    try:
        known = settings.load(around.environ)
    except settings.SettingsError as error:
        return [*found, Check("settings", False, str(error), "set the variable, or run `factory up`")]
    found.append(Check("settings", True, "every server is named"))
    for look in (_database, _worker_role, _broker, _management, _objects):
        found.append(await look(known))
    for more in extra:
        found.extend(await more(known))
    return found


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    needed = ".".join(str(part) for part in OLDEST_PYTHON)
    ok = sys.version_info >= OLDEST_PYTHON
    return Check("python", ok, version, "" if ok else f"make the environment anew: make setup PYTHON=python{needed}")


def _folder(home: Path) -> Check:
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    ok = os.access(place, os.W_OK | os.X_OK)
    remedy = "" if ok else f"make {place} writable, or set FACTORY_HOME to a folder of your own"
    return Check("folder", ok, f"{home}", remedy)


def _space(home: Path) -> Check:
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    ok = free >= FREE_BYTES
    remedy = (
        "" if ok else f"free {FREE_BYTES / 1e9:.0f} GB there: RabbitMQ stops publishers when less than 1 GB is left"
    )
    return Check("disk space", ok, f"{free / 1e9:.1f} GB free below {place}", remedy)


def _rabbitmq_installed(path: str) -> Check:
    try:
        program = rabbitmq.script(path)
    except processes.StackError as error:
        return Check("rabbitmq-server", False, "not found", str(error))
    version = re.search(r"rabbitmq_server-([\d.]+)", str(Path(program).resolve()))
    return Check("rabbitmq-server", True, f"{version.group(1) if version else 'of unknown version'} at {program}")


def _parts(home: Path) -> list[Check]:
    return [
        Check(
            f"process {row.name}",
            row.pid is not None and row.state in ("up", "running"),
            f"{row.state}, {row.restarts} restarts",
            "" if row.state in ("up", "running") else f"read {home / 'log' / row.name}.log, then `factory up`",
        )
        for row in control.status(home)
    ]


async def _database(known: settings.Settings) -> Check:
    return await _postgres("database", known.database_url, "FACTORY_DATABASE_URL")


async def _worker_role(known: settings.Settings) -> Check:
    return await _postgres("worker role", known.worker_database_url, "FACTORY_WORKER_DATABASE_URL")


async def _postgres(name: str, url: str, variable: str) -> Check:
    try:
        connection = await asyncpg.connect(url, timeout=TIMEOUT_SECONDS)
        try:
            version = await connection.fetchval("SHOW server_version")
        finally:
            await connection.close()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return _unreachable(name, url, error, variable)
    return Check(name, True, f"Postgres {version} at {_place(url)}")


async def _broker(known: settings.Settings) -> Check:
    try:
        connection = await aio_pika.connect(known.amqp_url, timeout=TIMEOUT_SECONDS)
        await connection.close()
    except (OSError, TimeoutError, aio_pika.exceptions.AMQPError) as error:
        return _unreachable("broker", known.amqp_url, error, "FACTORY_AMQP_URL")
    return Check("broker", True, f"AMQP at {_place(known.amqp_url)}")


async def _management(known: settings.Settings) -> Check:
    url = known.amqp_admin_url
    if not url:
        remedy = "set FACTORY_AMQP_ADMIN_URL, without which policies can be neither installed nor proved"
        return Check("management API", False, "FACTORY_AMQP_ADMIN_URL is not set", remedy)
    parts = urlsplit(url)
    headers = urllib3.make_headers(basic_auth=f"{parts.username or ''}:{parts.password or ''}")
    target = parts._replace(netloc=_place(url), path=f"{parts.path.rstrip('/')}/api/overview").geturl()
    try:
        status, body = await asyncio.to_thread(_get, target, headers)
    except urllib3.exceptions.HTTPError as error:
        return _unreachable("management API", url, error, "FACTORY_AMQP_ADMIN_URL")
    if status != 200:
        remedy = "correct the name, the password or the rights (tag `administrator`) in FACTORY_AMQP_ADMIN_URL"
        return Check("management API", False, f"{_place(url)} answers with status {status}", remedy)
    version = re.search(rb'"rabbitmq_version":"([^"]+)"', body)
    return Check("management API", True, f"RabbitMQ {version.group(1).decode() if version else '?'} at {_place(url)}")


def _get(url: str, headers: dict[str, str]) -> tuple[int, bytes]:
    with urllib3.PoolManager(timeout=TIMEOUT_SECONDS, retries=False) as pool:
        answer = pool.request("GET", url, headers=headers)
        return answer.status, answer.data


async def _objects(known: settings.Settings) -> Check:
    try:
        present = await asyncio.to_thread(_bucket_exists, known)
    except (minio.error.MinioException, urllib3.exceptions.HTTPError) as error:
        return _unreachable("objects", known.s3_endpoint, error, "FACTORY_S3_ENDPOINT and its keys")
    if not present:
        remedy = f"make the bucket {known.s3_bucket} (`factory migrate` does), or correct FACTORY_S3_BUCKET"
        return Check("objects", False, f"{known.s3_endpoint} has no bucket {known.s3_bucket}", remedy)
    return Check("objects", True, f"bucket {known.s3_bucket} at {known.s3_endpoint}")


def _bucket_exists(known: settings.Settings) -> bool:
    parts = urlsplit(known.s3_endpoint)
    with urllib3.PoolManager(timeout=TIMEOUT_SECONDS, retries=False) as pool:
        client = minio.Minio(
            parts.netloc,
            access_key=known.s3_access_key,
            secret_key=known.s3_secret_key,
            secure=parts.scheme == "https",
            region=known.s3_region,
            http_client=pool,
        )
        return client.bucket_exists(known.s3_bucket)


def _unreachable(name: str, url: str, error: Exception, variable: str) -> Check:
    reason = str(error).strip() or type(error).__name__
    return Check(name, False, f"{_place(url)}: {reason}", f"{START} {variable}")


def _place(url: str) -> str:
    # A URL in an answer to a person leaves its password out.
    return urlsplit(url).netloc.rpartition("@")[2] or "its Unix socket"
