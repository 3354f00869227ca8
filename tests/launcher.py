"""Starts the factory's processes as copies of one that has loaded their modules, which saves a second each.

A copy is a process like any other: with an id, environment and log of its own, and the tests may kill it. What it runs
is what ``python -m consumers`` runs. Commands that users type are started as they type them, not from here.
"""

import functools
import gc
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PLUGINS = Path(__file__).parent / "plugins"


class Process:
    """A process that was started, with the part of subprocess.Popen that tests use."""

    def __init__(self, launcher: "Launcher", pid: int) -> None:
        self._launcher = launcher
        self.pid = pid
        self.returncode: int | None = None
        self._gone = os.pidfd_open(pid)
        self._turn = threading.Lock()

    def __del__(self) -> None:
        os.close(self._gone)

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        with self._turn:
            # The status of a process can be asked for once.
            if self.returncode is None:
                self.returncode = self._launcher.ask(status=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status once it has ended; raises subprocess.TimeoutExpired after so many seconds."""
        select.select([self._gone], [], [], timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Asks it to end in good order."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once."""
        self.send_signal(signal.SIGKILL)


class Launcher:
    """The process that copies itself; it ends with this one, and kills what then still runs."""

    def __init__(self) -> None:
        path = os.pathsep.join(map(str, (ROOT, PLUGINS)))
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.launcher"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._turn = threading.Lock()

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
        """Starts ``python -m consumers ...`` with this environment; what it says goes to the log."""
        log.write_bytes(b"")
        asked = {"start": list(arguments), "environment": dict(environment), "log": str(log)}
        return Process(self, self.ask(**asked))

    def ask(self, **request: Any) -> Any:
        """The server's answer."""
        assert self._server.stdin
        assert self._server.stdout
        with self._turn:
            self._server.stdin.write(json.dumps(request).encode() + b"\n")
            self._server.stdin.flush()
            return json.loads(self._server.stdout.readline())


@functools.cache
def running() -> Launcher:
    """The launcher of this test session."""
    return Launcher()


def _serve() -> dict[str, Any] | None:
    """Answers requests until there are no more; returns in a copy with the request that it is to fulfil."""
    children: set[int] = set()
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        if "start" in request:
            child = os.fork()
            if child == 0:
                return dict(request)
            children.add(child)
            answer: int | None = child
        else:
            ended, status = os.waitpid(request["status"], os.WNOHANG)
            children.discard(ended)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()
    for child in children:
        os.kill(child, signal.SIGKILL)
    return None


def _become(request: dict[str, Any]) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, place in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, place)
    environment = request["environment"]
    if "LD_PRELOAD" in environment:
        # Libraries to load first take a program that starts.
        os.execve(sys.executable, [sys.executable, "-m", "consumers", *request["start"]], environment)
    os.environ.clear()
    os.environ.update(environment)
    sys.path += [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p not in sys.path]
    sys.argv = ["consumers", *request["start"]]
    from consumers import __main__ as consumers

    return consumers.main()


def _main() -> int:
    # Whoever interrupts the tests lets them end in order, and this with them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from consumers import coordinator_process, worker_process

    assert coordinator_process
    assert worker_process
    gc.freeze()
    request = _serve()
    return _become(request) if request else 0


if __name__ == "__main__":
    sys.exit(_main())
