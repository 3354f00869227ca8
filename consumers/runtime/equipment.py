"""What the tasks of one worker process use together: the object store, the network, child processes, the analyst."""

import contextlib
import dataclasses
import functools
from collections.abc import AsyncIterator, Callable, Iterable

from consumers.analysis import embedding, local
from consumers.analysis.llm.analyst import LlmAnalyst
from consumers.runtime.isolation import ChildPool
from contracts import messages, stages
from contracts.analysis import Analyst
from contracts.llm import ClosedLlm, Llm
from contracts.memory import Memory
from contracts.tiers import Quality
from infra import budgets, database, documents, egress, fetch, memory, objects, shared, visits
from infra.llm import opening
from infra.settings import Settings

CACHED_BYTES = 64 * 1024 * 1024
"""Documents kept in memory: the shards of a fan-out all read the same one."""

CACHE_OF_ANSWERS = "llm"
"""The scope of what models answered: no stage has this name, since a stage's is that of its own cache."""

PRELOAD = ("consumers.stages.feeds.reader",)
"""What each child process imports before its first task."""


@dataclasses.dataclass(frozen=True, slots=True)
class Equipment:
    """Held for the life of a worker process."""

    store: objects.Objects
    documents: documents.Cache
    visitor: visits.Visitor
    children: ChildPool
    local: Callable[[], Analyst]
    models: opening.Service | None
    shared: database.Pool

    def cache(self, stage: str) -> stages.Cache:
        """The shared cache of a stage."""
        return shared.SharedCache(self.shared, stage)

    def memory(self, task: messages.StageTask) -> Memory:
        """What the client of a task was told before."""
        return memory.ClientMemory(self.shared, task)

    def budget(self, task: messages.StageTask, remaining: Callable[[], float]) -> stages.Budget:
        """What an attempt may spend, which has so many seconds left."""
        return budgets.Budget(self.shared, task, remaining)

    def llm(self, context: messages.TaskContext, budget: stages.Budget, remaining: Callable[[], float]) -> Llm:
        """The models that an attempt may ask, if any."""
        if self.models is None:
            return ClosedLlm("no model is set; OPENAI_API_KEY and FACTORY_LLM_MODELS name the key and the models")
        if context.quality is Quality.BASIC:
            return ClosedLlm("quality 'basic' asks no model; submit the job with quality 'standard' or 'high'")
        return self.models.asker(budget, self.cache(CACHE_OF_ANSWERS), remaining, degraded=context.degraded)

    def analyst(self, context: messages.TaskContext, models: Llm) -> Analyst:
        """The analysis engine of an attempt, which asks these models where it may."""
        if models.closed:
            return self.local()
        return LlmAnalyst(self.local(), models, context.quality, degraded=context.degraded)


@contextlib.asynccontextmanager
async def equip(settings: Settings, preload: Iterable[str] = PRELOAD) -> AsyncIterator[Equipment]:
    """Everything connected; the store and the network are not contacted before they are used."""
    async with (
        objects.of(settings) as store,
        fetch.Fetcher(
            fetch.Limits(total=settings.fetch_seconds, body=settings.feed_bytes), allow=settings.fetch_allow
        ) as fetcher,
        ChildPool(preload=preload) as children,
        database.connect(settings.worker_database_url, application="factory worker", size=4) as pool,
        opening.opened(settings.llm, pool) as models,
    ):
        # Loaded by the first task that asks, since a worker that only fetches never does.
        analyst = functools.cache(lambda: local.LocalAnalyst(embedding.packaged()))
        visitor = visits.Visitor(fetcher, pool, _manners(settings))
        yield Equipment(store, documents.Cache(store.get, CACHED_BYTES), visitor, children, analyst, models, pool)


def _manners(settings: Settings) -> visits.Manners:
    return visits.Manners(
        feed_seconds=settings.feed_seconds,
        domain_seconds=settings.domain_seconds,
        request_seconds=settings.fetch_seconds,
        own=egress.parse_allowed(settings.fetch_allow),
    )
