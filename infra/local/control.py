"""`factory up`, `down` and `status`: what a person does with the stack of one home folder."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from infra import settings
from infra.local import plan, processes, record, supervisor

UP_SECONDS = 480.0
DOWN_SECONDS = 180.0
POLL_SECONDS = 0.05


def up(around: settings.Surroundings, specs: Sequence[plan.ProcessSpec], *, foreground: bool = False) -> int:
    """Start the servers that the environment does not name, and the processes of ``specs``.

    In the foreground it returns an exit status when it was stopped; in the background it returns 0 when everything
    answers, leaving a supervisor behind. A stack that is up already is left as it is. Raises StackError with the end
    of the guilty log.
    """
    home = around.home
    home.mkdir(parents=True, exist_ok=True)
    state = record.read(home)
    if not foreground and state and state.phase == "up" and state.supervisor.find():
        return 0
    if foreground:
        return supervisor.supervise(around, specs)
    with supervisor.alone(home):
        plan.save(home, specs)
    _await_up(home, _detach(around))
    return 0


def down(home: Path) -> list[str]:
    """Stop everything of this home folder, whether or not its supervisor lives; returns the names of what ran."""
    if not home.exists():
        return []
    names = [row.name for row in status(home) if row.pid]
    state = record.read(home)
    found = state.supervisor.find() if state else None
    if found:
        processes.end([found], seconds=DOWN_SECONDS)
    with supervisor.alone(home):
        supervisor.sweep(home)
        for file in (settings.STACK_FILE, record.FILE):
            (home / file).unlink(missing_ok=True)
    return names


def status(home: Path) -> list[record.Row]:
    """One row for the supervisor and one for each part, checked against the processes that really run."""
    state = record.read(home)
    if not state:
        return []
    found = state.supervisor.find()
    shown = state.phase if found else "gone"
    own = record.Row("supervisor", state.supervisor.pid if found else None, shown, 0, state.supervisor.created)
    return [own, *(_checked(row, supervised=found is not None) for row in state.rows)]


def _checked(row: record.Row, *, supervised: bool) -> record.Row:
    if row.find():
        state = row.state if supervised else "unsupervised"
        return record.Row(row.name, row.pid, state, row.restarts, row.since, row.created)
    state = "waiting" if supervised else "gone"
    return record.Row(row.name, None, state, row.restarts, row.since)


def _detach(around: settings.Surroundings) -> int:
    log = around.home / "log" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environ = {**supervisor.inherited(around.environ), "FACTORY_HOME": str(around.home)}
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "infra.local"],
        environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def _await_up(home: Path, pid: int) -> None:
    me = record.identify(pid)
    deadline = time.monotonic() + UP_SECONDS
    while True:
        ended, _ = os.waitpid(pid, os.WNOHANG)
        state = record.read(home)
        said = state if state and state.supervisor == me else None
        if ended:
            raise processes.StackError((said and said.failure) or processes.tail(home / "log" / "supervisor.log"))
        if said and said.phase == "up":
            return
        if time.monotonic() > deadline:
            processes.end([psutil.Process(pid)], seconds=DOWN_SECONDS)
            raise processes.StackError(f"the stack is not up after {UP_SECONDS:g} s; see {home / 'log'}.")
        time.sleep(POLL_SECONDS)
