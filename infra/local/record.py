"""What a supervisor says about itself and its parts in a file, so that `status` and `down` work without it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil

FILE = "state.json"

Phase = Literal["starting", "up", "failed", "stopping"]
# A start time in seconds, read twice from the kernel, differs by its clock tick at most.
TICK_SECONDS = 0.05


@dataclass(frozen=True)
class Identified:
    """A process that cannot be mistaken for a later one with the same id."""

    pid: int
    created: float

    def find(self) -> psutil.Process | None:
        """The process, if it is this one and still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < TICK_SECONDS
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


@dataclass(frozen=True)
class Row:
    """One part as `factory status` shows it; ``since`` is when it entered its state, in seconds of the Unix clock."""

    name: str
    pid: int | None
    state: str
    restarts: int
    since: float
    created: float = 0.0

    def find(self) -> psutil.Process | None:
        """Its main process while that runs."""
        return Identified(self.pid, self.created).find() if self.pid else None


@dataclass(frozen=True)
class State:
    """Everything the supervisor of a home folder last said."""

    supervisor: Identified
    phase: Phase
    rows: tuple[Row, ...]
    failure: str = ""


def identify(pid: int) -> Identified:
    """Note when a process was created; 0 if it is already gone."""
    try:
        return Identified(pid, psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return Identified(pid, 0.0)


def write(home: Path, state: State) -> None:
    """Replace the file atomically."""
    fresh = home / f"{FILE}.new"
    fresh.write_text(json.dumps(asdict(state), indent=1))
    fresh.replace(home / FILE)


def read(home: Path) -> State | None:
    """What was written last; None when nothing is recorded."""
    try:
        kept = json.loads((home / FILE).read_text())
    except FileNotFoundError:
        return None
    return State(
        supervisor=Identified(**kept["supervisor"]),
        phase=kept["phase"],
        rows=tuple(Row(**row) for row in kept["rows"]),
        failure=kept["failure"],
    )
