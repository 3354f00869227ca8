"""Processes of the local stack: started with a log and a mark, found again by that mark, and ended for certain."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from contracts import errors

# Every process carries this variable, and so do its children: whatever is left of a stack can be found by it.
MARK = "FACTORY_MARK"
TAIL_LINES = 15
POLL_SECONDS = 0.02
SETTLE_SECONDS = 1.0
KILL_SECONDS = 5.0


class StackError(errors.FactoryError):
    """A part of the local stack cannot be started or stopped; the text says why and what to do."""


class Process:
    """One process with its log file; it can be started again after it ended. Held by whoever must stop it."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        environ: Mapping[str, str],
        *,
        folder: Path,
        log: Path,
        cwd: Path | None = None,
        bound: bool = False,
        patience: float = 10.0,
    ) -> None:
        """``folder`` is the mark; a ``bound`` process is killed when the thread that started it ends.

        ``patience`` is how many seconds it gets to end when it is asked to.
        """
        self.name = name
        self.argv = [*_binding(bound), *argv]
        self.environ = {**environ, MARK: str(folder)}
        self.log = log
        self.cwd = cwd
        self.patience = patience
        self._popen: subprocess.Popen[bytes] | None = None
        self._launched = 0.0

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._popen.pid if self._popen and self.alive() else None

    @property
    def status(self) -> int | None:
        """The exit status once it ended; negative for a signal."""
        return self._popen.poll() if self._popen else None

    def launch(self) -> None:
        """Start it in a session of its own, so that a terminal's Ctrl-C reaches only its supervisor."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._launched = time.monotonic()
        with self.log.open("ab") as output:
            try:
                self._popen = subprocess.Popen(
                    self.argv,
                    env=self.environ,
                    cwd=self.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise StackError(f"{self.name} cannot be started: {error}") from None

    def alive(self) -> bool:
        """Whether it runs."""
        return self._popen is not None and self._popen.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if it has ended."""
        if self._popen:
            self._popen.send_signal(number)

    def wait(self) -> None:
        """Return when it has run for a second; StackError with the end of its log if it does not last that long."""
        wait_until(lambda: time.monotonic() - self._launched >= SETTLE_SECONDS, self, 2 * SETTLE_SECONDS)

    def finish(self, seconds: float) -> None:
        """Return when it has ended with status 0; StackError with the end of its log if it does anything else."""
        if self._popen:
            try:
                status = self._popen.wait(seconds)
            except subprocess.TimeoutExpired:
                raise StackError(f"{self.name} has not ended after {seconds:g} s.\n{tail(self.log)}") from None
            if status:
                raise StackError(f"{self.name} ended with status {status}.\n{tail(self.log)}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, and kill it when its patience is over."""
        self.send(number)
        if self._popen:
            try:
                self._popen.wait(self.patience)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once; returns when it is gone."""
        if self._popen:
            self._popen.kill()
            self._popen.wait()


def wait_until(ready: Callable[[], bool], process: Process, seconds: float) -> None:
    """Return when ``ready``; StackError with the end of the log if the process dies first or takes longer."""
    deadline = time.monotonic() + seconds
    while not ready() or not process.alive():
        if not process.alive():
            raise StackError(f"{process.name} ended with status {process.status}.\n{tail(process.log)}")
        if time.monotonic() > deadline:
            raise StackError(f"{process.name} does not answer after {seconds:g} s.\n{tail(process.log)}")
        time.sleep(POLL_SECONDS)


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, with its name."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 200 * lines))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return f"(no log at {log})"
    return "\n".join([f"The end of {log}:", *(f"  {line}" for line in text.splitlines()[-lines:])])


def left(folder: Path) -> list[psutil.Process]:
    """Processes marked with ``folder`` or a folder below it, and Postgres processes that work in there."""
    own = os.getpid()
    return [process for process in psutil.process_iter() if process.pid != own and _belongs(process, folder)]


def end(found: Iterable[psutil.Process], number: signal.Signals = signal.SIGTERM, seconds: float = 10.0) -> None:
    """Ask processes of any parentage to end, and kill what is left after ``seconds``.

    Only those are asked whose parent is not among them: a server ends its own children in the right order.
    """
    remaining = list(found)
    ids = {process.pid for process in remaining}
    for process in remaining:
        if _parent(process) not in ids or number == signal.SIGKILL:
            _signal(process, number)
    remaining = _await_gone(remaining, seconds)
    for process in remaining:
        _signal(process, signal.SIGKILL)
    remaining = _await_gone(remaining, KILL_SECONDS)
    if remaining:
        raise StackError(f"processes that cannot be ended: {', '.join(str(process.pid) for process in remaining)}")


def _binding(bound: bool) -> list[str]:
    program = shutil.which("setpriv") if bound else None
    return [program, "--pdeathsig", "KILL"] if program else []


def _belongs(process: psutil.Process, folder: Path) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        mark = process.environ().get(MARK)
        # Postgres overwrites the environment of its backends with their titles, but they stay in the data folder.
        place = mark or (process.cwd() if process.name() == "postgres" else "")
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return bool(place) and Path(place).is_relative_to(folder)


def _await_gone(found: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    _, remaining = psutil.wait_procs([process for process in found if not _gone(process)], seconds)
    return [process for process in remaining if not _gone(process)]


def _parent(process: psutil.Process) -> int | None:
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return None


def _gone(process: psutil.Process) -> bool:
    # An orphan may stay a zombie where process 1 does not collect it; it holds nothing any more.
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
