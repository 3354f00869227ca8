"""The factory's own processes under a small supervisor, which starts again what dies."""

import asyncio
import contextlib
import dataclasses
import os
import random
import signal
from collections.abc import AsyncIterator, Mapping

from infra.local import supervisor
from tests import factories
from tests.launcher import Process

RESTART_SECONDS = 0.3
MOST_DEATHS = 60
"""A process that dies so often in one row was not killed by the row: the row ends with its log."""

COORDINATOR, WORKER = "coordinator", "worker"


@dataclasses.dataclass(eq=False)
class Member:
    """One process that is kept running; ``deaths`` are the exit statuses of its earlier lives."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    process: Process
    deaths: list[int] = dataclasses.field(default_factory=list)
    wanted: bool = True
    died: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    def kill(self) -> None:
        """Ends it as ``kill -9`` does; it is started again."""
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """Stops it from running without ending it."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it run on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, number)


class Crew:
    """Coordinators and workers of one factory."""

    def __init__(self, factory: factories.Factory, group: asyncio.TaskGroup) -> None:
        self._factory = factory
        self._group = group
        self.members: list[Member] = []

    def coordinator(
        self, first: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
    ) -> Member:
        """Keeps a coordinator running; ``first`` is the environment of its first life only."""
        return self._keep((COORDINATOR,), first or {}, environment or {})

    def worker(
        self,
        *stages: str,
        concurrency: int = 8,
        first: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Member:
        """Keeps a worker of these stages running; ``first`` is the environment of its first life only."""
        arguments = (WORKER, *(stages or ("effect",)), "--concurrency", str(concurrency))
        return self._keep(arguments, first or {}, environment or {})

    def of(self, role: str) -> list[Member]:
        """The members of a role that are wanted."""
        return [member for member in self.members if member.wanted and member.arguments[0] == role]

    def any(self, role: str, chance: random.Random) -> Member:
        """One of a role."""
        return chance.choice(self.of(role))

    def log(self, member: Member) -> str:
        """What the present life of a member has logged."""
        return self._factory.log(member.process)

    async def dismiss(self, member: Member, seconds: float = factories.PATIENCE) -> int:
        """Asks a member to end in good order, for good; its exit status."""
        member.wanted = False
        member.thaw()
        return await asyncio.to_thread(factories.terminate, member.process, seconds)

    async def end(self) -> None:
        """Ends all in good order."""
        for member in self.members:
            if member.wanted:
                await self.dismiss(member)

    def _keep(self, arguments: tuple[str, ...], first: Mapping[str, str], environment: Mapping[str, str]) -> Member:
        process = self._factory.start(*arguments, **{**environment, **first})
        member = Member(arguments, environment, process)
        self.members.append(member)
        self._group.create_task(self._supervise(member))
        return member

    async def _supervise(self, member: Member) -> None:
        while True:
            await supervisor.ended(member.process.pid)
            status = await asyncio.to_thread(member.process.wait)
            if not member.wanted:
                return
            member.deaths.append(status)
            member.died.set()
            assert len(member.deaths) < MOST_DEATHS, f"{member.arguments} keeps dying:\n{self.log(member)[-3000:]}"
            await asyncio.sleep(RESTART_SECONDS)
            member.process = self._factory.start(*member.arguments, **member.environment)


@contextlib.asynccontextmanager
async def of(factory: factories.Factory) -> AsyncIterator[Crew]:
    """A crew without members yet, killed when the row is over."""
    async with asyncio.TaskGroup() as group:
        crew = Crew(factory, group)
        try:
            yield crew
        finally:
            for member in crew.members:
                member.wanted = False
            factory.stop()
