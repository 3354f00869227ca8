"""What the environment says, read once into a frozen value; the only module that looks at the environment."""

import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from contracts import errors
from infra import failpoints

# The variables of one server belong together: they come all from the environment or all from stack.env.
SERVERS: Mapping[str, tuple[str, ...]] = {
    "rabbitmq": ("FACTORY_AMQP_URL", "FACTORY_AMQP_ADMIN_URL"),
    "postgres": ("FACTORY_DATABASE_URL", "FACTORY_WORKER_DATABASE_URL"),
    "s3": (
        "FACTORY_S3_ENDPOINT",
        "FACTORY_S3_ACCESS_KEY",
        "FACTORY_S3_SECRET_KEY",
        "FACTORY_S3_BUCKET",
        "FACTORY_S3_REGION",
    ),
}
STACK_FILE = "stack.env"
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("console", "json")

Value = TypeVar("Value")
Number = TypeVar("Number", int, float)


class SettingsError(errors.FactoryError):
    """A variable is missing or wrong; the text names it, its value and the remedy."""


@dataclass(frozen=True)
class Settings:
    """Everything a process of the factory is told from outside; values that carry a password stay out of its repr."""

    home: Path
    amqp_url: str = field(repr=False)
    amqp_admin_url: str = field(repr=False)
    database_url: str = field(repr=False)
    worker_database_url: str = field(repr=False)
    s3_endpoint: str
    s3_access_key: str = field(repr=False)
    s3_secret_key: str = field(repr=False)
    s3_bucket: str = "factory"
    s3_region: str = "us-east-1"
    fetch_allow: frozenset[str] = frozenset()
    fetch_seconds: float = 20.0
    feed_bytes: int = 15 * 1024 * 1024
    log_level: str = "info"
    log_format: str = "console"
    slots: int = 200
    lease_seconds: float = 30.0
    heartbeat_seconds: float = 5.0
    batch_size: int = 256
    sweep_seconds: float = 5.0
    worker_concurrency: int = 8
    drain_seconds: float = 30.0
    retention_days: int = 90
    failpoint: frozenset[failpoints.Armed] = frozenset()


@dataclass(frozen=True)
class Surroundings:
    """What is known before any server runs: the home folder and the environment that processes inherit."""

    home: Path
    environ: Mapping[str, str] = field(repr=False)

    def names(self, server: str) -> bool:
        """Whether the environment names this server ("rabbitmq", "postgres", "s3"), so that none is to be started."""
        return bool(self.environ.get(SERVERS[server][0]))

    @property
    def rabbitmq_server(self) -> str | None:
        """The program with which the local stack starts RabbitMQ instead of the machine's, None for the latter."""
        return self.environ.get("FACTORY_RABBITMQ_SERVER") or None

    @property
    def fetch_allow(self) -> frozenset[str]:
        """The endpoints of FACTORY_FETCH_ALLOW; raises SettingsError."""
        return _optional(self.environ, "FACTORY_FETCH_ALLOW", _sockets, Settings.fetch_allow)


def from_process() -> Settings:
    """The settings of this process; raises SettingsError."""
    return load(os.environ)


def surroundings() -> Surroundings:
    """Where this process is, without asking whether any server runs."""
    return survey(os.environ)


def alone(home: Path) -> Surroundings:
    """A home folder of its own where nothing of the environment counts but the RabbitMQ to start."""
    program = surroundings().rabbitmq_server
    return Surroundings(home.resolve(), {"FACTORY_RABBITMQ_SERVER": program} if program else {})


def survey(environ: Mapping[str, str]) -> Surroundings:
    """The same for any environment; the home folder is made absolute and need not exist."""
    return Surroundings(Path(environ.get("FACTORY_HOME") or ".factory").resolve(), dict(environ))


def load(environ: Mapping[str, str]) -> Settings:
    """Settings from an environment; servers that it does not name come from ``stack.env``. Raises SettingsError."""
    home = survey(environ).home
    values = _complete(environ, read_stack(home))
    settings = Settings(
        home=home,
        amqp_url=_url(values, "FACTORY_AMQP_URL", ("amqp", "amqps")),
        amqp_admin_url=_url(values, "FACTORY_AMQP_ADMIN_URL", ("http", "https"), required=False),
        database_url=_url(values, "FACTORY_DATABASE_URL", ("postgresql", "postgres")),
        worker_database_url=_url(values, "FACTORY_WORKER_DATABASE_URL", ("postgresql", "postgres")),
        s3_endpoint=_url(values, "FACTORY_S3_ENDPOINT", ("http", "https"), bare=True),
        s3_access_key=_required(values, "FACTORY_S3_ACCESS_KEY"),
        s3_secret_key=_required(values, "FACTORY_S3_SECRET_KEY"),
        s3_bucket=_optional(values, "FACTORY_S3_BUCKET", _bucket, Settings.s3_bucket),
        s3_region=values.get("FACTORY_S3_REGION") or Settings.s3_region,
        fetch_allow=_optional(values, "FACTORY_FETCH_ALLOW", _sockets, Settings.fetch_allow),
        fetch_seconds=_number(values, "FACTORY_FETCH_SECONDS", float, Settings.fetch_seconds),
        feed_bytes=_number(values, "FACTORY_FEED_BYTES", int, Settings.feed_bytes),
        log_level=_choice(values, "FACTORY_LOG_LEVEL", LOG_LEVELS, Settings.log_level),
        log_format=_choice(values, "FACTORY_LOG_FORMAT", LOG_FORMATS, Settings.log_format),
        slots=_number(values, "FACTORY_SLOTS", int, Settings.slots),
        lease_seconds=_number(values, "FACTORY_LEASE_SECONDS", float, Settings.lease_seconds),
        heartbeat_seconds=_number(values, "FACTORY_HEARTBEAT_SECONDS", float, Settings.heartbeat_seconds),
        batch_size=_number(values, "FACTORY_BATCH_SIZE", int, Settings.batch_size),
        sweep_seconds=_number(values, "FACTORY_SWEEP_SECONDS", float, Settings.sweep_seconds),
        worker_concurrency=_number(values, "FACTORY_WORKER_CONCURRENCY", int, Settings.worker_concurrency),
        drain_seconds=_number(values, "FACTORY_DRAIN_SECONDS", float, Settings.drain_seconds),
        retention_days=_number(values, "FACTORY_RETENTION_DAYS", int, Settings.retention_days, least=0),
        failpoint=_optional(values, "FACTORY_FAILPOINT", _failpoints, Settings.failpoint),
    )
    return _coherent(settings)


def read_stack(home: Path) -> dict[str, str]:
    """What the local stack under ``home`` wrote about its servers; empty when it is not up."""
    try:
        text = (home / STACK_FILE).read_text()
    except FileNotFoundError:
        return {}
    pairs = (token.partition("=") for token in shlex.split(text, comments=True))
    return {name: value for name, _, value in pairs}


def write_stack(home: Path, values: Mapping[str, str]) -> None:
    """Replace the stack file atomically; only its owner can read it, and a shell can source it."""
    target = home / STACK_FILE
    fresh = target.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(values.items())))
    fresh.replace(target)


def _complete(environ: Mapping[str, str], stack: Mapping[str, str]) -> dict[str, str]:
    values = {name: value for name, value in environ.items() if name.startswith("FACTORY_")}
    for variables in SERVERS.values():
        if not values.get(variables[0]):
            values.update({name: stack[name] for name in variables if name in stack})
    return values


def _coherent(settings: Settings) -> Settings:
    if settings.lease_seconds < 2 * settings.heartbeat_seconds:
        raise SettingsError(
            f"FACTORY_LEASE_SECONDS={settings.lease_seconds:g} is less than twice "
            f"FACTORY_HEARTBEAT_SECONDS={settings.heartbeat_seconds:g}, so one lost heartbeat would end a lease: "
            "raise the first or lower the second."
        )
    return settings


def _required(values: Mapping[str, str], name: str) -> str:
    value = values.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set: set it, or run `factory up` to start the local stack.")
    return value


def _url(
    values: Mapping[str, str], name: str, schemes: tuple[str, ...], *, required: bool = True, bare: bool = False
) -> str:
    value = _required(values, name) if required else values.get(name, "")
    if not value:
        return value
    expected = " or ".join(f"{scheme}://host:port" for scheme in schemes)
    try:
        parts = urlsplit(value)
        usable = parts.scheme in schemes and (parts.port is None or parts.port > 0)
    except ValueError:
        raise SettingsError(f"{name} is not a URL ({_masked(value)}): give {expected}.") from None
    # A Postgres URL may leave the host to its query (host=/run/postgresql); the others need one.
    if not usable or not (parts.hostname or parts.scheme.startswith("postgres")):
        raise SettingsError(f"{name}={_masked(value)} cannot be used: give {expected}.")
    if bare and (parts.path.strip("/") or parts.query or parts.username):
        raise SettingsError(f"{name}={_masked(value)} has more than a host and a port: give {expected}.")
    return value.rstrip("/") if bare else value


def _masked(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//***@", url)


def _optional(values: Mapping[str, str], name: str, parse: Callable[[str, str], Value], default: Value) -> Value:
    value = values.get(name, "")
    return parse(name, value) if value else default


def _number(
    values: Mapping[str, str], name: str, kind: type[Number], default: Number, *, least: Number | None = None
) -> Number:
    """A number above 0, or one that is at least ``least``."""
    text = values.get(name, "")
    if not text:
        return default
    noun = "a whole number" if kind is int else "a number"
    remedy = f"give {noun} {'above 0' if least is None else f'of at least {least:g}'}, or unset it for {default:g}."
    try:
        value = kind(text)
    except ValueError:
        raise SettingsError(f"{name}={text} is not {noun}: {remedy}") from None
    if not (value > 0 if least is None else least <= value) or not value < 1e12:
        raise SettingsError(f"{name}={text} is out of range: {remedy}")
    return value


def _choice(values: Mapping[str, str], name: str, choices: tuple[str, ...], default: str) -> str:
    value = values.get(name, "").lower() or default
    if value not in choices:
        raise SettingsError(f"{name}={value} is unknown: choose one of {', '.join(choices)}.")
    return value


def _failpoints(name: str, value: str) -> frozenset[failpoints.Armed]:
    try:
        return failpoints.parse(value)
    except ValueError as error:
        raise SettingsError(f"{name}={value} cannot be used: {error}. Unset it to run without failpoints.") from None


def _bucket(name: str, value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value):
        raise SettingsError(f"{name}={value} is no bucket name: use 3 to 63 lower-case letters, digits and hyphens.")
    return value


def _sockets(name: str, value: str) -> frozenset[str]:
    entries = [entry.strip().lower() for entry in value.split(",") if entry.strip()]
    for entry in entries:
        host, _, port = entry.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise SettingsError(f"{name}: {entry!r} is not host:port: list entries such as 127.0.0.1:8080.")
    return frozenset(entries)
