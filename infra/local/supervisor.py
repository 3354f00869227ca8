"""Keeps the servers and the factory's own processes of one home folder running, and stops them in order."""

import asyncio
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from contracts import errors
from infra import settings
from infra.local import plan, processes, prometheus, record, servers, stack

LOCK = "supervisor.lock"
LOG_BYTES = 10 * 1024 * 1024
LOG_SECONDS = 5.0
FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
# A part that ran this long has recovered: its next crash is a new one.
STABLE_SECONDS = 60.0
ONCE_SECONDS = 300.0
STOP_MARGIN_SECONDS = 5.0


@dataclass
class Member:
    """A part under supervision and what is known of it."""

    part: servers.Part
    order: int
    state: str = "starting"
    restarts: int = 0
    delay: float = FIRST_DELAY
    since: float = field(default_factory=time.time)

    def enter(self, state: str) -> None:
        self.state = state
        self.since = time.time()

    def row(self) -> record.Row:
        pid = self.part.pid
        created = record.identify(pid).created if pid else 0.0
        return record.Row(self.part.name, pid, self.state, self.restarts, self.since, created)


class Supervisor:
    """One run of the supervision of a home folder."""

    def __init__(self, around: settings.Surroundings, specs: Sequence[plan.ProcessSpec]) -> None:
        self._around = around
        self._specs = sorted(specs, key=lambda spec: spec.order)
        self._servers = stack.servers_for(around)
        self._members: list[Member] = []
        self._me = record.identify(os.getpid())
        self._phase: record.Phase = "starting"
        self._stop = asyncio.Event()

    async def run(self) -> str:
        """Start everything, keep it running until SIGTERM or SIGINT, stop everything; returns why it failed, or ""."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._note()
        failure = ""
        work = asyncio.create_task(self._work())
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        for task in (work, stop):
            task.cancel()
        try:
            await work
        except errors.FactoryError as error:
            failure = str(error)
        except asyncio.CancelledError:
            say("asked to stop")
        finally:
            await self._end(failure)
        return failure

    async def _work(self) -> None:
        await self._start_servers()
        await self._start_processes()
        self._phase = "up"
        self._note()
        say("up")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._cap_logs())
            for member in self._members:
                group.create_task(self._keep(member))

    async def _start_servers(self) -> None:
        for server in self._servers:
            self._members.append(Member(server, order=-1_000_000))
            await asyncio.to_thread(server.launch)
        self._note()
        for member in list(self._members):
            await asyncio.to_thread(stack.settle, member.part)
            self._settled(member)
        settings.write_stack(self._around.home, stack.variables(self._servers))
        ports = {spec.name: spec.health_port for spec in self._specs if spec.health_port is not None}
        prometheus.write(self._around.home, ports, stack.broker_metrics(self._servers))

    async def _start_processes(self) -> None:
        known = settings.load({**self._around.environ, "FACTORY_HOME": str(self._around.home)})
        for spec in self._specs:
            for process in self._processes(spec, known.drain_seconds + STOP_MARGIN_SECONDS):
                member = Member(process, spec.order)
                self._members.append(member)
                await asyncio.to_thread(process.launch)
                if spec.once:
                    await asyncio.to_thread(process.finish, ONCE_SECONDS)
                    self._members.remove(member)
        self._note()
        for member in self._members:
            if member.state == "starting":
                await asyncio.to_thread(member.part.wait)
                self._settled(member)

    def _processes(self, spec: plan.ProcessSpec, patience: float) -> Iterator[processes.Process]:
        home = self._around.home
        environ = {**self._around.environ, **spec.environment, "FACTORY_HOME": str(home), "PYTHONUNBUFFERED": "1"}
        names = [spec.name] if spec.count == 1 else [f"{spec.name}-{number}" for number in range(1, spec.count + 1)]
        for name in names:
            log = home / "log" / f"{name}.log"
            yield processes.Process(
                name, spec.argv, environ, folder=process_folder(home) / name, log=log, patience=patience
            )

    async def _keep(self, member: Member) -> None:
        while True:
            await ended(member.part.pid)
            ran = time.time() - member.since
            member.delay = FIRST_DELAY if ran > STABLE_SECONDS else member.delay
            say(f"{member.part.name} ended after {ran:.1f} s; starting it again in {member.delay:g} s")
            member.enter("waiting")
            self._note()
            await asyncio.sleep(member.delay)
            member.delay = min(2 * member.delay, LONGEST_DELAY)
            await self._start_again(member)

    async def _start_again(self, member: Member) -> None:
        member.restarts += 1
        member.enter("starting")
        try:
            await asyncio.to_thread(member.part.launch)
            self._note()
            await asyncio.to_thread(member.part.wait)
        except processes.StackError as error:
            say(f"{member.part.name} did not start: {error}")
            await asyncio.to_thread(member.part.kill)
            return
        settings.write_stack(self._around.home, stack.variables(self._servers))
        self._settled(member)

    def _settled(self, member: Member) -> None:
        member.state = "running"
        self._note()
        say(f"{member.part.name} runs as process {member.part.pid}")

    async def _end(self, failure: str) -> None:
        self._phase = "stopping"
        self._note()
        for order in sorted({member.order for member in self._members}, reverse=True):
            group = [member for member in self._members if member.order == order]
            for member in group:
                member.enter("stopping")
            self._note()
            await asyncio.gather(*(asyncio.to_thread(member.part.stop) for member in group))
        self._members.clear()
        (self._around.home / settings.STACK_FILE).unlink(missing_ok=True)
        self._phase = "failed" if failure else "stopping"
        self._note(failure)

    async def _cap_logs(self) -> None:
        while True:
            await asyncio.sleep(LOG_SECONDS)
            for log in (self._around.home / "log").glob("*.log"):
                cap(log)

    def _note(self, failure: str = "") -> None:
        rows = tuple(member.row() for member in self._members)
        record.write(self._around.home, record.State(self._me, self._phase, rows, failure))


async def ended(pid: int | None) -> None:
    """Return when the process is gone; at once if there is none."""
    try:
        descriptor = os.pidfd_open(pid) if pid else -1
    except ProcessLookupError:
        return
    if descriptor < 0:
        return
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def process_folder(home: Path) -> Path:
    """The mark of the factory's own processes, as apart from the servers'."""
    return home / "processes"


def cap(log: Path, limit: int = LOG_BYTES) -> None:
    """Move a log that grew beyond ``limit`` aside, keeping one old one; its writer appends and goes on undisturbed."""
    if log.stat().st_size > limit:
        log.with_suffix(".log.1").write_bytes(log.read_bytes())
        os.truncate(log, 0)


def say(text: str) -> None:
    """One line of the supervisor's own log."""
    sys.stdout.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    sys.stdout.flush()


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Be the only supervisor of this home folder; StackError if there is one already."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise processes.StackError(
                f"{home} is supervised already: see `factory status`, or stop it with `factory down`."
            ) from None
        yield


def sweep(home: Path) -> None:
    """End whatever a dead supervisor left: the factory's processes first, then the servers."""
    state = record.read(home)
    recorded = [found for row in (state.rows if state else ()) if (found := row.find())]
    processes.end(processes.left(process_folder(home)), seconds=LONGEST_DELAY + STOP_MARGIN_SECONDS)
    processes.end(processes.left(home / "postgres"), signal.SIGINT, seconds=LONGEST_DELAY)
    processes.end([*processes.left(home), *recorded], seconds=LONGEST_DELAY)


def supervise(around: settings.Surroundings, specs: Sequence[plan.ProcessSpec]) -> int:
    """Run until told to stop; returns an exit status. Nothing of the home folder runs afterwards."""
    with alone(around.home):
        sweep(around.home)
        try:
            failure = asyncio.run(_run(around, specs))
        finally:
            # A restart may have been under way in a thread when the stop came.
            sweep(around.home)
        if failure:
            say(failure)
            return 1
        with suppress(FileNotFoundError):
            (around.home / record.FILE).unlink()
        return 0


async def _run(around: settings.Surroundings, specs: Sequence[plan.ProcessSpec]) -> str:
    return await Supervisor(around, specs).run()


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the mark of a stack in which we may run ourselves."""
    return {name: value for name, value in environ.items() if name != processes.MARK}
