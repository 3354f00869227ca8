"""Processes of a measurement, which never outlive it."""

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

GRACE_SECONDS = 10.0
BOUND = ("setpriv", "--pdeathsig", "KILL")
"""The kernel ends such a process when the one that started it is gone."""


@contextlib.contextmanager
def started(
    commands: Sequence[Sequence[str]], environment: Mapping[str, str] | None = None, log: Path | None = None
) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """These commands as processes, ended at the end: asked first, and killed if they do not go."""
    processes: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as files:
        errors = files.enter_context(log.open("ab")) if log else None
        try:
            for command in commands:
                processes.append(
                    subprocess.Popen([*BOUND, *command], env=environment, stdout=subprocess.DEVNULL, stderr=errors)
                )
            yield processes
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                end(process)


def end(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    """Waits until it has ended, and kills it if it does not."""
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
