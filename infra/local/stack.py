"""The servers that one home folder needs, started together."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from infra import settings
from infra.local import postgres, processes, rabbitmq, s3, servers

MINIO = Path("bin") / "minio"


def servers_for(around: settings.Surroundings, *, bound: bool = False, quick: bool = True) -> list[servers.Server]:
    """The servers that the environment does not name, not yet started; MinIO instead of rclone where it was built."""
    home, logs = around.home, around.home / "log"
    path = f"{around.environ.get('PATH', '')}:{servers.PROGRAMS}".lstrip(":")
    binary = home / MINIO if (home / MINIO).exists() else None
    every: list[servers.Server] = [
        rabbitmq.RabbitMQ(
            home / "rabbitmq",
            logs / "rabbitmq.log",
            path=path,
            bound=bound,
            program=around.rabbitmq_server,
            quick=quick,
        ),
        postgres.Postgres(home / "postgres", logs / "postgres.log", bound=bound),
        s3.S3(home / "s3", logs / "s3.log", minio_binary=binary, bound=bound),
    ]
    return [server for server in every if not around.names(server.name)]


def variables(started: Sequence[servers.Server]) -> dict[str, str]:
    """The FACTORY_* variables of all of them."""
    return {name: value for server in started for name, value in server.variables.items()}


def broker_metrics(started: Sequence[servers.Server]) -> int | None:
    """The port at which the broker of this machine tells its metrics, None if it is not ours."""
    return next((server.prometheus_port for server in started if isinstance(server, rabbitmq.RabbitMQ)), None)


def settle(launched: servers.Part) -> None:
    """Return when what was launched can be used; raises StackError. What ended meanwhile is launched once more."""
    try:
        launched.wait()
    except processes.StackError:
        if launched.alive():
            raise
        # Another program may have taken a port between its choice and its use; launching again chooses another.
        launched.launch()
        launched.wait()


@contextmanager
def temporary(home: Path, extra: Mapping[str, str] | None = None, *, quick: bool = True) -> Iterator[settings.Settings]:
    """A stack of its own for tests: all servers in ``home``, ended at the end and also when this process is killed.

    ``extra`` adds FACTORY_* variables. Without ``quick`` the broker is set up to run for long. Must be entered from a
    thread that outlives it.
    """
    around = settings.alone(home)
    started = servers_for(around, bound=True, quick=quick)
    try:
        for server in started:
            server.launch()
        for server in started:
            settle(server)
        environ = {**variables(started), **(extra or {}), "FACTORY_HOME": str(around.home)}
        settings.write_stack(around.home, variables(started))
        yield settings.load(environ)
    finally:
        for server in reversed(started):
            # A killed Postgres leaves shared memory behind; a clean end of RabbitMQ takes a second for nothing.
            server.kill() if isinstance(server, rabbitmq.RabbitMQ) else server.stop()
