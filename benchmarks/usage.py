"""What a system under load costs: CPU seconds and memory of its processes, of the broker and of the database."""

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

GONE = (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess)


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """CPU seconds by part since each process began, and megabytes that the system's own processes occupy."""

    cpu: Mapping[str, float]
    megabytes: float

    def since(self, earlier: "Sample") -> dict[str, float]:
        """CPU seconds by part between two samples."""
        return {part: self.cpu[part] - earlier.cpu.get(part, 0.0) for part in self.cpu}


class Meter:
    """Reads the processes of the servers, found by their folder, and those below the process that drives a system."""

    def __init__(self, home: Path, driver: int) -> None:
        self._driver = psutil.Process(driver)
        self._servers = {"broker": _running(home, "rabbitmq"), "database": _running(home, "postgres")}

    def read(self) -> Sample:
        """The present moment. The process that drives the load counts as a part of its own, ``load``."""
        own = self._driver.children(recursive=True)
        cpu = {part: sum(map(_seconds, _trees(roots))) for part, roots in self._servers.items()}
        for part, members in _parts(own).items():
            cpu[part] = sum(map(_seconds, members))
        cpu["load"] = _seconds(self._driver, waited=False)
        return Sample(cpu, sum(map(_megabytes, own)))


def _parts(own: Iterable[psutil.Process]) -> dict[str, list[psutil.Process]]:
    parts: dict[str, list[psutil.Process]] = {"coordinator": [], "workers": []}
    for process in own:
        with contextlib.suppress(*GONE):
            coordinates = any(word in ("coordinator", "coordinate") for word in process.cmdline())
            parts["coordinator" if coordinates else "workers"].append(process)
    return parts


def _running(home: Path, name: str) -> list[psutil.Process]:
    folder = str(home / name)
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(folder in a for a in process.info["cmdline"] or ())
    ]


def _trees(roots: Iterable[psutil.Process]) -> set[psutil.Process]:
    found = set(roots)
    for root in roots:
        with contextlib.suppress(*GONE):
            found.update(root.children(recursive=True))
    return found


def _seconds(process: psutil.Process, *, waited: bool = True) -> float:
    """CPU seconds of a process, with those of its children that have ended."""
    try:
        times = process.cpu_times()
    except GONE:
        return 0.0
    return float(times.user + times.system + (times.children_user + times.children_system if waited else 0.0))


def _megabytes(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 2**20
    except GONE:
        return 0.0
