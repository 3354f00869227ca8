"""One row at work: a factory of its own behind proxies, its crew, its load, and the clock of its fault."""

import asyncio
import collections
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import asyncpg

from contracts import messages, registry, topology
from infra import broker, database
from infra.delivery import BrokerError
from tests import factories, proxy
from tests.chaos import crew, history, load, servers

RATE = 4.0
"""Jobs a second: a load that one coordinator and two workers carry with half of two cores."""

MOST, MOST_QUICK = 12, 6
"""Times its size is as many jobs as a row submits, however long its fault takes."""

IDLE_SECONDS = 90.0
"""Nothing completes for so long, and what is not over by then is stuck; far longer than a lease of this suite."""

PATIENCE = 3600.0

PROGRESS = """
SELECT (SELECT count(*) FROM executions WHERE status IN ('completed', 'partial', 'failed', 'cancelled')) AS over,
       (SELECT count(*) FROM outbox) AS owed,
       (SELECT count(*) FROM step_executions WHERE status IN ('ready', 'dispatched', 'running', 'waiting')) AS live,
       (SELECT count(*) FROM chaos_history WHERE step IS NOT NULL AND status = 'completed') AS completed
"""


class Trial:
    """What a row's function works with. ``chance`` is seeded: the same seed injects the same faults.

    ``cleanup`` is closed when everything else of the trial is gone.
    """

    def __init__(
        self,
        own: servers.Servers | None,
        seed: int,
        size: int,
        factory: factories.Factory,
        members: crew.Crew,
        proxies: Mapping[str, proxy.Proxy],
        cleanup: contextlib.AsyncExitStack,
        *,
        quick: bool,
    ) -> None:
        self._own = own
        self.seed = seed
        self.cleanup = cleanup
        self.chance = random.Random(seed)
        # Apart, because how many jobs come is a matter of time, and must not change which faults come.
        self._arrivals = random.Random(seed + 1)
        self.size = size
        self.most = size * (MOST_QUICK if quick else MOST)
        self.factory = factory
        self.crew = members
        self.proxies = proxies
        self.ledger = factory.folder / "submitted.jsonl"
        self.expected_dead: collections.Counter[str] = collections.Counter()
        self.injected: list[str] = []
        self.notes: list[str] = []
        self.began = time.time()
        self.broken: float | None = None
        self.healed: float | None = None
        self.loads: list[load.Load] = []

    @property
    def servers(self) -> servers.Servers:
        """The servers, for rows that kill or freeze them."""
        assert self._own is not None, "this row needs servers of its own"
        return self._own

    def inject(self, what: str) -> None:
        """Says which fault begins now."""
        self.injected.append(what)
        if self.broken is None:
            self.broken = time.time()

    def failpoint(self, spec: str) -> dict[str, str]:
        """The environment that arms a failpoint."""
        self.injected.append(spec)
        return {"FACTORY_FAILPOINT": spec}

    async def poison(self, exchange: str, key: str, body: bytes) -> None:
        """Publishes a message that nobody can read, again and again until the broker has confirmed it."""

        async def published() -> bool:
            try:
                async with broker.connect(self.factory.settings.amqp_url, name="poison") as connection:
                    publisher = await connection.publisher()
                    await publisher.publish(exchange, key, "Nonsense", body, headers={"copy": 1})
            except BrokerError:
                return False
            return True

        await factories.eventually(published, "the poison is in its queue")
        self.expected_dead["message:unknown_type"] += 1

    def heal(self) -> None:
        """Says that the fault is over now; recovery is counted from here."""
        self.healed = time.time()

    def claim(self, true: bool, what: str) -> None:
        """Something that must hold in this row beyond the invariants of all."""
        if not true:
            self.notes.append(what)

    async def staff(self, coordinators: int = 1, workers: int = 2) -> None:
        """Starts processes that nothing is wrong with."""
        for _ in range(coordinators):
            self.crew.coordinator()
        for _ in range(workers):
            self.crew.worker()

    @contextlib.asynccontextmanager
    async def load(
        self,
        template: str = "chain",
        rate: float = RATE,
        least: int | None = None,
        most: int | None = None,
        **fields: messages.Json,
    ) -> AsyncIterator[load.Load]:
        """Jobs keep coming while this is entered, and at least the row's size of them."""
        made = load.Load(self.factory.environment["FACTORY_AMQP_URL"], self.ledger, self._arrivals)
        self.loads.append(made)
        running = asyncio.create_task(
            made.run(
                rate,
                self.size if least is None else least,
                lambda: template,
                most=self.most if most is None else most,
                **fields,
            )
        )
        try:
            yield made
        except BaseException:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            raise
        made.stop()
        await running

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Rows of the database, asked for again while it is away."""
        found: list[asyncpg.Record] = []

        async def asked() -> bool:
            try:
                found[:] = await self.factory.fetch(query, *arguments)
            except (*database.UNAVAILABLE, database.Failure):
                return False
            return True

        await factories.eventually(asked, "the database answers")
        return found

    async def completed(self, number: int, seconds: float = factories.PATIENCE) -> None:
        """Returns when so many tasks have completed since the row began."""

        async def enough() -> bool:
            (row,) = await self.fetch(
                "SELECT count(*) AS n FROM chaos_history WHERE step IS NOT NULL AND status = 'completed'"
            )
            return int(row["n"]) >= number

        await factories.eventually(enough, f"{number} tasks have completed", seconds)

    async def progress(self, more: int = 1, seconds: float = factories.PATIENCE) -> None:
        """Returns when so many more tasks have completed than by now, or when no job is left that could bring them."""
        (row,) = await self.fetch(PROGRESS)
        wanted = row["completed"] + more

        async def enough() -> bool:
            (row,) = await self.fetch(PROGRESS)
            jobs_submitted = sum(made.begun for made in self.loads)
            exhausted = all(made.over for made in self.loads) and row["over"] >= jobs_submitted
            return bool(exhausted or row["completed"] >= wanted)

        await factories.eventually(enough, f"{more} more tasks have completed", seconds)

    async def dispatched(self, number: int) -> None:
        """Returns when so many tasks wait for a worker."""

        async def enough() -> bool:
            query = "SELECT count(*) AS n FROM step_executions WHERE status = 'dispatched' AND published_at IS NOT NULL"
            return int((await self.fetch(query))[0]["n"]) >= number

        await factories.eventually(enough, f"{number} tasks wait for a worker")

    async def repaired(self, kind: str) -> None:
        """Returns when a coordinator has noticed the damage and counted its repair."""

        async def counted() -> bool:
            return bool(await self.fetch("SELECT 1 FROM repairs WHERE kind = $1 AND number > 0", kind))

        await factories.eventually(counted, f"a {kind} is put right", 90.0)

    async def dead(self, number: int, seconds: float = factories.PATIENCE) -> None:
        """Returns when there are so many dead letters."""

        async def enough() -> bool:
            return len(await self.fetch("SELECT 1 FROM dead_letters")) >= number

        await factories.eventually(enough, f"{number} dead letters", seconds)

    async def running(self, step: str, seconds: float = factories.PATIENCE) -> None:
        """Returns when a worker is at a task of this step."""

        async def at_work() -> bool:
            query = "SELECT 1 FROM step_executions WHERE step = $1 AND status = 'running' AND worker IS NOT NULL"
            return bool(await self.fetch(f"{query} LIMIT 1", step))

        await factories.eventually(at_work, f"somebody does '{step}'", seconds)

    async def died(self, member: crew.Member, seconds: float = factories.PATIENCE) -> None:
        """Returns when a member has died for the first time; its next life mends what was broken."""
        async with asyncio.timeout(seconds):
            await member.died.wait()
        self.heal()

    async def until(self, condition: Callable[[], Awaitable[Any]], what: str, seconds: float = 60.0) -> Any:
        """The first true value of a condition."""
        return await factories.eventually(condition, what, seconds)

    async def drain(self, idle: float = IDLE_SECONDS) -> None:
        """Returns when everything is over, or nothing has completed for so long; the checker says what is stuck."""
        jobs_submitted = len(history.ledger(self.ledger))
        done, since = -1, time.monotonic()

        async def quiet() -> bool:
            nonlocal done, since
            (row,) = await self.fetch(PROGRESS)
            if row["completed"] > done:
                done, since = row["completed"], time.monotonic()
            over = row["over"] >= jobs_submitted and not row["owed"] and not row["live"]
            return (over and not await self.backlog()) or time.monotonic() - since > idle

        await factories.eventually(quiet, "everything is over", PATIENCE)

    async def backlog(self) -> dict[str, int]:
        """Queues that still hold messages; what no process holds any more counts, so ask when none runs."""
        found: dict[str, int] = {}
        try:
            async with broker.connect(self.factory.settings.amqp_url, name="checker") as connection:
                for queue in topology.queues(registry.specs()):
                    if queue.kind == "quorum":
                        waiting, _ = await connection.inspect(queue.name)
                        if waiting:
                            found[queue.name] = waiting
        except BrokerError as error:
            return {f"the broker does not answer: {error}": 1}
        return found
