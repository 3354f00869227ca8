"""Where the coordinator's and a worker's CPU goes under full load, by py-spy."""

import asyncio
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from benchmarks import throughput
from benchmarks.systems import PEERS, ROOT, SYSTEMS
from benchmarks.throughput import Load
from infra.settings import Settings

SECONDS = 15.0
RATE = 200
"""Samples a second."""

SETTLE_SECONDS = 6.0
"""From the start of the processes until they are in their stride."""

LOOPS = {
    "coordinator": (
        ("settle_jobs", "jobs"),
        ("_shorten", "events, the short way"),
        ("_commit", "events, the long way"),
        ("settle_events", "decoding events"),
        ("admit", "admission"),
        ("_finish", "publishing and acknowledging"),
        ("deliver", "publishing and acknowledging"),
        ("_send_waiting", "publishing and acknowledging"),
        ("_flush_regularly", "publishing and acknowledging"),
    ),
    "worker": (
        ("_send_together", "telling ends"),
        ("_send_waiting", "telling ends"),
        ("attempt", "doing tasks"),
        ("_handle", "settling tasks"),
        ("_flush_regularly", "acknowledging"),
    ),
}
"""The functions by whose presence in a stack the work is recognised, the first that is there."""

_FRAME = re.compile(r"(?P<function>[^;]+?) \((?P<file>[^;():]+)(?::\d+)?\)")


async def measure(stack: Settings) -> dict[str, Any]:
    """Percent of the CPU of each process, by what it is spent on and in whose code."""
    if not spy().exists():
        return {"left_out": "py-spy is not installed"}
    with tempfile.TemporaryDirectory() as folder:
        load = Load(SECONDS + SETTLE_SECONDS)
        running = asyncio.create_task(throughput.run(SYSTEMS["factory"], stack, load))
        stacks = await asyncio.to_thread(_record, Path(folder))
        run = await running
    told = {role: _shares(role, lines) for role, lines in stacks.items()}
    return {"steps_per_second": round(run.steps_per_second, 1), "seconds": SECONDS, **told}


def spy() -> Path:
    """The profiler's program, in the environment of the peers."""
    return PEERS.parent / "py-spy"


def _record(folder: Path) -> dict[str, list[str]]:
    processes = _processes()
    time.sleep(SETTLE_SECONDS)
    recording = {}
    for role, pid in processes.items():
        output = folder / role
        asked = ["-r", str(RATE), "-d", f"{SECONDS:.0f}", "-f", "raw", "-o", str(output), "-p", str(pid)]
        recording[output] = subprocess.Popen(
            [str(spy()), "record", *asked], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    for process in recording.values():
        process.wait()
    return {output.name: output.read_text().splitlines() for output in recording}


def _processes() -> dict[str, int]:
    """The coordinator and a worker, as soon as they are there."""
    until = time.monotonic() + throughput.START_SECONDS
    while time.monotonic() < until:
        found: dict[str, int] = {}
        for process in psutil.Process().children(recursive=True):
            command = process.cmdline() if process.is_running() else []
            if "consumers" in command:
                found.setdefault("coordinator" if "coordinator" in command else "worker", process.pid)
        if len(found) == len(LOOPS):
            return found
        time.sleep(0.2)
    raise throughput.RunError("the factory's processes did not start")


def _shares(role: str, lines: Iterable[str]) -> dict[str, dict[str, float]]:
    work: Counter[str] = Counter()
    code: Counter[str] = Counter()
    for line in lines:
        stack, _, samples = line.rpartition(" ")
        frames = [(m["function"].rpartition(".")[2], m["file"]) for m in _FRAME.finditer(stack)]
        work[_work(role, frames)] += int(samples)
        code[_code(frames)] += int(samples)
    return {"work": _percent(work), "code": _percent(code)}


def _work(role: str, frames: Iterable[tuple[str, str]]) -> str:
    own = {function for function, file in frames if "consumers" in file or "infra" in file}
    for function, name in LOOPS[role]:
        if function in own:
            return name
    return "frames of the broker" if any("aiormq" in file for _, file in frames) else "event loop and the rest"


def _code(frames: list[tuple[str, str]]) -> str:
    """The library, or the layer of the factory, in whose code the sample was taken."""
    file = frames[-1][1] if frames else ""
    for name in ("asyncpg", "aiormq", "pamqp", "pydantic", "uvloop", "asyncio"):
        if name in file:
            return name
    for layer in ("consumers/coordinator/engine", "consumers/coordinator", "consumers/runtime", "contracts", "infra"):
        if layer in file.removeprefix(str(ROOT)):
            return layer
    return "other"


def _percent(counted: Counter[str]) -> dict[str, float]:
    total = sum(counted.values()) or 1
    return {name: round(100 * samples / total, 1) for name, samples in counted.most_common()}
