"""RabbitMQ, Postgres and S3 of the chaos suite alone, which its rows kill, freeze and start again."""

import asyncio
import concurrent.futures
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from infra import settings
from infra.local import postgres, processes, rabbitmq
from infra.local import stack as local_stack

RABBITMQ, POSTGRES, S3 = "rabbitmq", "postgres", "s3"
NAMES = (RABBITMQ, POSTGRES, S3)


class Servers:
    """The three servers. What takes long runs in one thread of their own, to whose life theirs is bound."""

    def __init__(self, home: Path) -> None:
        self.home = home
        around = settings.alone(home)
        self._every = {server.name: server for server in local_stack.servers_for(around, bound=True)}
        self._thread = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="servers")

    @property
    def rabbitmq(self) -> rabbitmq.RabbitMQ:
        """The broker's node."""
        found = self._every[RABBITMQ]
        assert isinstance(found, rabbitmq.RabbitMQ)
        return found

    @property
    def postgres(self) -> postgres.Postgres:
        """The database server."""
        found = self._every[POSTGRES]
        assert isinstance(found, postgres.Postgres)
        return found

    def pid(self, name: str) -> int:
        """The id of a server's main process, which runs."""
        pid = self._every[name].pid
        assert pid is not None, f"{name} does not run"
        return pid

    async def _do(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def kill(self, name: str) -> None:
        """Ends a server as ``kill -9`` of all its processes does."""
        await self._do(self._every[name].kill)

    async def stop(self, name: str) -> None:
        """Ends a server in good order, at once for those who are connected."""
        await self._do(self._every[name].stop)

    async def start(self, name: str) -> None:
        """Starts a server on the data that it left; returns when it serves."""
        await self._do(self._every[name].start)

    def freeze(self, name: str, *, whole: bool = True) -> None:
        """Stops a server from running without ending it: all its processes, or the main one alone."""
        self._signal(name, signal.SIGSTOP, whole)

    def thaw(self, name: str) -> None:
        """Lets a frozen server run."""
        self._signal(name, signal.SIGCONT, True)

    def _signal(self, name: str, number: signal.Signals, whole: bool) -> None:
        found = {self.pid(name)}
        if whole:
            found |= {process.pid for process in processes.left(self.home / name)}
        for pid in found:
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                os.kill(pid, number)

    async def revive(self) -> None:
        """Makes all servers run again, whatever a row has left behind."""
        for name, server in self._every.items():
            if server.alive():
                self.thaw(name)
            else:
                await self.start(name)

    def _launch(self) -> None:
        for server in self._every.values():
            server.launch()
        for server in self._every.values():
            local_stack.settle(server)

    def _end(self) -> None:
        for name, server in reversed(self._every.items()):
            if server.alive():
                self.thaw(name)
            server.kill() if name == RABBITMQ else server.stop()

    def _found(self) -> settings.Settings:
        """The settings by which they are found."""
        found = local_stack.variables(list(self._every.values()))
        settings.write_stack(self.home, found)
        return settings.load({**found, "FACTORY_HOME": str(self.home)})

    @contextlib.contextmanager
    def running(self) -> Iterator[settings.Settings]:
        """All servers while it is entered."""
        try:
            self._thread.submit(self._launch).result()
            yield self._found()
        finally:
            self._thread.submit(self._end).result()
            self._thread.shutdown()
