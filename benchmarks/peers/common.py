"""What the peers share: worker processes that never outlive the program which started them, and a cheap count of the
pipelines that they finished."""

import asyncio
import ctypes
import dataclasses
import functools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import uvloop

from benchmarks import drive

PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Has the kernel end this process when the one that started it is gone; holds across exec, not across fork."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        sys.exit("the program that started this process is gone already")


def ready() -> None:
    """Called by a worker when it takes work: the program waits for that before it submits any."""
    written = int(os.environ.pop("BENCH_READY"))
    os.write(written, b".")
    os.close(written)


@functools.cache
def _tally() -> int:
    return os.open(os.environ["BENCH_TALLY"], os.O_WRONLY | os.O_APPEND)


def finished() -> None:
    """Called by a worker where a pipeline ends. Each byte of a file is a pipeline, whatever process wrote it."""
    os.write(_tally(), b".")


@dataclasses.dataclass(frozen=True, slots=True)
class Crew:
    """The processes that a peer runs on and the file in which they count."""

    tally: Path
    processes: list[subprocess.Popen[bytes]] = dataclasses.field(default_factory=list)

    def start(self, module: str, *arguments: str) -> None:
        """Starts ``python -m module arguments`` as a leader of a process group of its own."""
        self.launch([sys.executable, "-m", module, *arguments], {})

    def launch(self, command: list[str], extra: dict[str, str], *pass_fds: int) -> None:
        """Starts any command, which must end with its parent by itself."""
        environment = {**os.environ, "BENCH_TALLY": str(self.tally), **extra}
        self.processes.append(
            subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True, pass_fds=pass_fds
            )
        )

    def workers(self, module: str, count: int, *arguments: str) -> None:
        """Starts ``count`` workers and returns when each takes work."""
        pipes = []
        for number in range(count):
            read, write = os.pipe()
            extra = {"BENCH_READY": str(write), "BENCH_WORKER": str(number)}
            self.launch([sys.executable, "-m", module, "worker", *arguments], extra, write)
            os.close(write)
            pipes.append(read)
        for read in pipes:
            if not os.read(read, 1):
                raise RuntimeError(f"a worker of {module} ended before it took work")
            os.close(read)

    async def finished(self) -> int:
        """Pipelines finished by now; raises once a process has ended, because the figures would mean nothing."""
        if ended := [process.args for process in self.processes if process.poll() is not None]:
            raise RuntimeError(f"ended unasked: {ended}")
        tally = os.open(self.tally, os.O_RDONLY)
        try:
            return os.fstat(tally).st_size
        finally:
            os.close(tally)

    def end(self) -> None:
        """Ends every process with all that it started. They are killed: nothing is meant to outlive a run."""
        for process in reversed(self.processes):
            # The group still exists while its leader was not waited for.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def crew() -> Iterator[Crew]:
    """A crew that is ended on the way out, also by a signal that comes before drive() listens for it."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    with tempfile.TemporaryDirectory(prefix="bench-peer-") as folder:
        tally = Path(folder) / "finished"
        tally.touch()
        started = Crew(tally)
        try:
            yield started
        finally:
            started.end()


def _leave(number: int, frame: object) -> NoReturn:
    sys.exit(0)


class Submitter:
    """Submits from several threads, for clients that block until the server has what they sent."""

    def __init__(self, submit: Callable[[int], object], threads: int = 8) -> None:
        self._submit = submit
        self._pool = ThreadPoolExecutor(threads)
        self._threads = threads

    async def __call__(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        shares = [count // self._threads + (number < count % self._threads) for number in range(self._threads)]
        await asyncio.gather(*(loop.run_in_executor(self._pool, self._submit, share) for share in shares if share))


def run(program: Callable[[drive.Plan], Coroutine[None, None, None]], worker: Callable[[drive.Plan], object]) -> None:
    """What a peer does when it is run: the worker when it was started as one, else the program that drives."""
    given = drive.plan()
    if sys.argv[1:2] == ["worker"]:
        end_with_parent()
        worker(given)
    else:
        uvloop.run(program(given))


def looped(work: Callable[[drive.Plan], Awaitable[None]]) -> Callable[[drive.Plan], None]:
    """A worker that is a coroutine, as one that is a function."""

    async def main(given: drive.Plan) -> None:
        await work(given)

    return lambda given: uvloop.run(main(given))


def sqlalchemy_url(given: drive.Plan, driver: str) -> str:
    """The database's URL for SQLAlchemy with the driver named; libpq's own form stays as it was."""
    return given.database_url.replace("postgresql://", f"postgresql+{driver}://", 1)
