"""A private RabbitMQ node from the machine's own rabbitmq-server: own folder, ports, cookie and port mapper."""

import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import urllib3

from infra.local import identity, processes, servers

NODE = "factory@localhost"
USER = "factory"
# Debian's wrapper on PATH insists on the system's own rabbitmq user and folders; the script behind it does not.
SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
PORTS = ("amqp", "management", "prometheus", "epmd", "distribution")
START_SECONDS = 120.0
STOP_SECONDS = 30.0
CALL_SECONDS = 3.0


class RabbitMQ:
    """A RabbitMQ node in one folder, with management and Prometheus plugins, listening on the loopback address."""

    name = "rabbitmq"

    def __init__(
        self,
        folder: Path,
        log: Path,
        *,
        path: str = servers.PROGRAMS,
        bound: bool = False,
        program: str | None = None,
        quick: bool = True,
    ) -> None:
        """``program`` starts the node as RabbitMQ's own start script does; without it the machine's is found.

        A ``quick`` node starts in half the time and needs up to two thirds more CPU for each message.
        """
        self._program = program
        self._busy_wait = "very_short" if quick else "none"
        self.folder = folder
        self.log = log
        self._path = path
        self._bound = bound
        self._identity = identity.Identity({}, {})
        self._mapper: processes.Process | None = None
        self._process: processes.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def variables(self) -> Mapping[str, str]:
        login = f"{USER}:{self._identity.passwords[USER]}"
        ports = self._identity.ports
        return {
            "FACTORY_AMQP_URL": f"amqp://{login}@127.0.0.1:{ports['amqp']}/",
            "FACTORY_AMQP_ADMIN_URL": f"http://{login}@127.0.0.1:{ports['management']}",
        }

    @property
    def prometheus_port(self) -> int:
        """Where the node's own metrics are read."""
        return self._identity.ports["prometheus"]

    def launch(self) -> None:
        program = self._program or script(self._path)
        self._end_left()
        self._identity = identity.recall(self.folder, PORTS, [USER, "cookie"])
        self._write_files()
        # Started here and not by the node, which would leave it running for ever.
        mapper = _erlang("epmd", self._path)
        if not mapper:
            raise processes.StackError("epmd, Erlang's port mapper, is not on PATH: install erlang-base again.")
        self._mapper = self._make("epmd", [mapper, "-port", self._port("epmd"), "-address", "127.0.0.1"])
        self._mapper.launch()
        processes.wait_until(lambda: identity.answers(self._identity.ports["epmd"]), self._mapper, 10.0)
        self._process = self._make(self.name, [program])
        self._process.launch()

    def wait(self) -> None:
        if self._process:
            processes.wait_until(self._ready, self._process, START_SECONDS)

    def start(self) -> None:
        self.launch()
        self.wait()

    def alive(self) -> bool:
        return self._process is not None and self._process.alive()

    def stop(self) -> None:
        if self._process and self._process.alive():
            self._dismiss_statistics()
            self._process.stop()
        if self._mapper:
            self._mapper.stop()
        self._end_left()

    def kill(self) -> None:
        for process in (self._process, self._mapper):
            if process:
                process.kill()
        processes.end(processes.left(self.folder), signal.SIGKILL)

    def _dismiss_statistics(self) -> None:
        # Left to the end, this handler asks Erlang's application controller, which is busy ending it: five seconds
        # until that call gives up. A node that cannot be called ends all the same, only later.
        if caller := _erlang("erl_call", self._path):
            call = [caller, "-n", NODE, "-a", "gen_event delete_handler [rabbit_event,rabbit_mgmt_db_handler,[]]"]
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(call, env=self._environ(), capture_output=True, timeout=CALL_SECONDS, check=False)

    def _end_left(self) -> None:
        processes.end(processes.left(self.folder), seconds=20.0)

    def _port(self, name: str) -> str:
        return str(self._identity.ports[name])

    def _make(self, name: str, argv: list[str]) -> processes.Process:
        return processes.Process(
            name,
            argv,
            self._environ(),
            folder=self.folder,
            log=self.log,
            cwd=self.folder,
            bound=self._bound,
            patience=STOP_SECONDS,
        )

    def _environ(self) -> dict[str, str]:
        return {
            "PATH": self._path,
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": self._port("epmd"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP": "/dev/null",
            "RABBITMQ_NODENAME": NODE,
            "RABBITMQ_DIST_PORT": self._port("distribution"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            # Starting up is one long chain of short hand-overs; schedulers that sleep at once, as RabbitMQ's own
            # default has it, make it twice as long.
            "RABBITMQ_SCHEDULER_BUSY_WAIT_THRESHOLD": self._busy_wait,
            # Makes the script replace itself by the node, so that the process started here is the node itself.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _write_files(self) -> None:
        (self.folder / "rabbitmq.conf").touch(mode=0o600)
        (self.folder / "rabbitmq.conf").write_text(self._configuration())
        (self.folder / "advanced.config").write_text("[].\n")
        (self.folder / "rabbitmq-env.conf").write_text("")
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")
        cookie = self.folder / ".erlang.cookie"
        cookie.unlink(missing_ok=True)
        cookie.touch(mode=0o600)
        cookie.write_text(self._identity.passwords["cookie"])
        cookie.chmod(0o400)

    def _configuration(self) -> str:
        values = {
            "listeners.tcp.1": f"127.0.0.1:{self._port('amqp')}",
            "management.tcp.ip": "127.0.0.1",
            "management.tcp.port": self._port("management"),
            "prometheus.tcp.ip": "127.0.0.1",
            "prometheus.tcp.port": self._port("prometheus"),
            "default_user": USER,
            "default_pass": self._identity.passwords[USER],
            "disk_free_limit.absolute": "1GB",
            "vm_memory_high_watermark.relative": "0.4",
            "raft.wal_max_size_bytes": str(128 * 1024 * 1024),
            "log.file": "false",
            "log.console": "true",
            "log.console.level": "info",
        }
        return "".join(f"{name} = {value}\n" for name, value in values.items())

    def _ready(self) -> bool:
        # The AMQP listener opens last; the management API answers some moments before.
        if not identity.answers(self._identity.ports["amqp"]):
            return False
        headers = urllib3.make_headers(basic_auth=f"{USER}:{self._identity.passwords[USER]}")
        with urllib3.PoolManager(timeout=5.0, retries=False) as pool:
            try:
                answer = pool.request("GET", f"http://127.0.0.1:{self._port('management')}/api/whoami", headers=headers)
            except urllib3.exceptions.HTTPError:
                return False
            return answer.status == 200


def script(path: str = servers.PROGRAMS) -> str:
    """The program that starts a node; StackError with the remedy if there is none."""
    if SCRIPT.exists():
        return str(SCRIPT)
    found = shutil.which("rabbitmq-server", path=path)
    if not found:
        raise processes.StackError(
            "rabbitmq-server is not installed: run `make setup` as root, or `apt-get install rabbitmq-server`, "
            "or name a running broker in FACTORY_AMQP_URL and FACTORY_AMQP_ADMIN_URL."
        )
    return found


def _erlang(name: str, path: str) -> str | None:
    """One of the programs that come with Erlang."""
    beside = sorted(Path("/usr/lib/erlang").glob(f"erts-*/bin/{name}"))
    return shutil.which(name, path=path) or (str(beside[-1]) if beside else None)
