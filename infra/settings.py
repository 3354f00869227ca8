"""What the environment says, read once into a frozen value; the only module that looks at the environment."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from infra import failpoints, variables
from infra.llm import options
from infra.variables import SettingsError as SettingsError

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
OTHERS = ("OPENAI_API_KEY", "OPENAI_BASE_URL")
"""Variables without the factory's prefix, as every program that asks a language model knows them."""

STACK_FILE = "stack.env"
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("console", "json")
LOG_SETTLEMENTS = ("all", "failed")
SHORTEST_SECRET = 4
"""Characters; what is shorter stands in half of all words."""


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
    feed_seconds: float = 900.0
    domain_seconds: float = 1.0
    health_host: str = "127.0.0.1"
    log_level: str = "info"
    log_format: str = "console"
    log_settlements: str = "all"
    traces_endpoint: str = field(default="", repr=False)
    traces_ratio: float = 1.0
    slots: int = 200
    lease_seconds: float = 30.0
    heartbeat_seconds: float = 5.0
    batch_size: int = 256
    sweep_seconds: float = 5.0
    worker_concurrency: int = 8
    drain_seconds: float = 30.0
    retention_days: int = 90
    failpoint: frozenset[failpoints.Armed] = frozenset()
    llm: options.Options = field(default_factory=options.Options)

    @property
    def secrets(self) -> frozenset[str]:
        """Every password and key in here, as it is and as it stands in a URL: what no log may hold."""
        urls = (
            *(self.amqp_url, self.amqp_admin_url, self.database_url, self.worker_database_url),
            *(self.s3_endpoint, self.traces_endpoint, self.llm.url),
        )
        found = {self.s3_secret_key, self.llm.key}
        for parts in map(urlsplit, urls):
            found |= {parts.password or "", *parse_qs(parts.query).get("password", [])}
        found |= {unquote(secret) for secret in found}
        return frozenset(secret for secret in found if len(secret) >= SHORTEST_SECRET)


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
        return variables.optional(self.environ, "FACTORY_FETCH_ALLOW", variables.sockets, Settings.fetch_allow)


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
        amqp_url=variables.url(values, "FACTORY_AMQP_URL", ("amqp", "amqps")),
        amqp_admin_url=variables.url(values, "FACTORY_AMQP_ADMIN_URL", ("http", "https"), required=False),
        database_url=variables.url(values, "FACTORY_DATABASE_URL", ("postgresql", "postgres")),
        worker_database_url=variables.url(values, "FACTORY_WORKER_DATABASE_URL", ("postgresql", "postgres")),
        s3_endpoint=variables.url(values, "FACTORY_S3_ENDPOINT", ("http", "https"), bare=True),
        s3_access_key=variables.mandatory(values, "FACTORY_S3_ACCESS_KEY"),
        s3_secret_key=variables.mandatory(values, "FACTORY_S3_SECRET_KEY"),
        s3_bucket=variables.optional(values, "FACTORY_S3_BUCKET", variables.bucket, Settings.s3_bucket),
        s3_region=values.get("FACTORY_S3_REGION") or Settings.s3_region,
        fetch_allow=variables.optional(values, "FACTORY_FETCH_ALLOW", variables.sockets, Settings.fetch_allow),
        fetch_seconds=variables.number(values, "FACTORY_FETCH_SECONDS", float, Settings.fetch_seconds),
        feed_bytes=variables.number(values, "FACTORY_FEED_BYTES", int, Settings.feed_bytes),
        feed_seconds=variables.number(values, "FACTORY_FEED_SECONDS", float, Settings.feed_seconds, least=0),
        domain_seconds=variables.number(values, "FACTORY_DOMAIN_SECONDS", float, Settings.domain_seconds, least=0),
        health_host=variables.optional(values, "FACTORY_HEALTH_HOST", variables.address, Settings.health_host),
        log_level=variables.choice(values, "FACTORY_LOG_LEVEL", LOG_LEVELS, Settings.log_level),
        log_format=variables.choice(values, "FACTORY_LOG_FORMAT", LOG_FORMATS, Settings.log_format),
        log_settlements=variables.choice(values, "FACTORY_LOG_SETTLEMENTS", LOG_SETTLEMENTS, Settings.log_settlements),
        traces_endpoint=variables.url(values, "FACTORY_TRACES_ENDPOINT", ("http", "https"), required=False),
        traces_ratio=variables.number(values, "FACTORY_TRACES_RATIO", float, Settings.traces_ratio, least=0, most=1),
        slots=variables.number(values, "FACTORY_SLOTS", int, Settings.slots),
        lease_seconds=variables.number(values, "FACTORY_LEASE_SECONDS", float, Settings.lease_seconds),
        heartbeat_seconds=variables.number(values, "FACTORY_HEARTBEAT_SECONDS", float, Settings.heartbeat_seconds),
        batch_size=variables.number(values, "FACTORY_BATCH_SIZE", int, Settings.batch_size),
        sweep_seconds=variables.number(values, "FACTORY_SWEEP_SECONDS", float, Settings.sweep_seconds),
        worker_concurrency=variables.number(values, "FACTORY_WORKER_CONCURRENCY", int, Settings.worker_concurrency),
        drain_seconds=variables.number(values, "FACTORY_DRAIN_SECONDS", float, Settings.drain_seconds),
        retention_days=variables.number(values, "FACTORY_RETENTION_DAYS", int, Settings.retention_days, least=0),
        failpoint=variables.optional(values, "FACTORY_FAILPOINT", variables.armed, Settings.failpoint),
        llm=_llm(values),
    )
    return _coherent(settings)


def _llm(values: Mapping[str, str]) -> options.Options:
    default = options.Options()
    return options.Options(
        key=values.get("OPENAI_API_KEY", ""),
        url=variables.url(values, "OPENAI_BASE_URL", ("http", "https"), required=False) or default.url,
        models=variables.optional(values, "FACTORY_LLM_MODELS", options.names, default.models),
        prices=variables.optional(values, "FACTORY_LLM_PRICES", options.prices, {}),
        seconds=variables.number(values, "FACTORY_LLM_SECONDS", float, default.seconds, most=600.0),
        concurrency=variables.number(values, "FACTORY_LLM_CONCURRENCY", int, default.concurrency),
        requests_per_minute=variables.number(
            values, "FACTORY_LLM_REQUESTS_PER_MINUTE", int, default.requests_per_minute, least=0
        ),
        tokens_per_minute=variables.number(
            values, "FACTORY_LLM_TOKENS_PER_MINUTE", int, default.tokens_per_minute, least=0
        ),
        thinking_tokens=variables.number(
            values, "FACTORY_LLM_THINKING_TOKENS", int, default.thinking_tokens, least=0
        ),
    )


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
    values = {name: value for name, value in environ.items() if name.startswith("FACTORY_") or name in OTHERS}
    for names in SERVERS.values():
        if not values.get(names[0]):
            values.update({name: stack[name] for name in names if name in stack})
    return values


def _coherent(settings: Settings) -> Settings:
    if settings.lease_seconds < 2 * settings.heartbeat_seconds:
        raise SettingsError(
            f"FACTORY_LEASE_SECONDS={settings.lease_seconds:g} is less than twice "
            f"FACTORY_HEARTBEAT_SECONDS={settings.heartbeat_seconds:g}, so one lost heartbeat would end a lease: "
            "raise the first or lower the second."
        )
    return settings
