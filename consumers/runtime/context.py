"""What the code of a stage is given for one attempt."""

import datetime
import functools
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import structlog

from consumers.runtime import inputs, outages, text, traces
from consumers.runtime.equipment import Equipment
from contracts import stages
from contracts.analysis import Analyst
from contracts.errors import PermanentError
from contracts.llm import Llm
from contracts.messages import StageTask
from contracts.refs import DataRef
from infra import failpoints, metrics
from infra.failpoints import Failpoint

A = TypeVar("A")
R = TypeVar("R")

PROGRESS_SECONDS = 0.5
"""Progress is told at most this often; what comes in between is dropped."""

FIGURE = re.compile(r"[a-z][a-z_]{0,39}")
"""Names of figures become labels of metrics, of which there must not be many."""

PATIENCE_SECONDS = 15.0
"""Awaited within an attempt for a turn at a site; for longer ones the task gives its place to others."""

Report = Callable[[float, str], Awaitable[None]]


class Context:
    """The StageContext of a worker process."""

    def __init__(self, equipment: Equipment, task: StageTask, report: Report) -> None:
        self.key = task.key
        self.task = task.context
        self.cache = equipment.cache(task.stage)
        self.memory = equipment.memory(task)
        self.files: dict[str, DataRef] = {}
        self._task = task
        self._equipment = equipment
        self._report = report
        self._deadline = time.monotonic() + task.timeout
        self.budget: stages.Budget = equipment.budget(task, self.remaining)
        self._told = 0.0

    @functools.cached_property
    def log(self) -> stages.Log:
        """A log whose lines name the task; most stages write none."""
        task = self._task
        bound: stages.Log = structlog.get_logger().bind(
            execution=str(task.execution_id), step=task.step, shard=task.shard, attempt=task.attempt
        )
        return bound

    @functools.cached_property
    def llm(self) -> Llm:
        """The language models, or what says why none may be asked."""
        return self._equipment.llm(self.task, self.budget, self.remaining)

    @functools.cached_property
    def analyst(self) -> Analyst:
        """The analysis engine."""
        return self._equipment.analyst(self.task, self.llm)

    @property
    def idempotency_key(self) -> str:
        """The same for every run of the same step and shard in the same epoch."""
        return f"{self.key.execution_id}/{self.key.epoch}/{self.key.step}/{self.key.shard}"

    def now(self) -> datetime.datetime:
        """The present moment, in UTC."""
        return datetime.datetime.now(datetime.UTC)

    def remaining(self) -> float:
        """Seconds left before the attempt is timed out."""
        return self._deadline - time.monotonic()

    async def progress(self, fraction: float, note: str = "") -> None:
        """Tells watchers how far the work is, at most twice a second."""
        if time.monotonic() - self._told < PROGRESS_SECONDS:
            return
        self._told = time.monotonic()
        await self._report(min(max(fraction, 0.0), 1.0), text.plain(note, 200))

    def measure(self, figure: str, value: float) -> None:
        """Counts a figure of the stage's own."""
        if not FIGURE.fullmatch(figure) or value < 0:
            raise PermanentError(f"the stage measures {figure!r} as {value!r}; give small letters, and 0 or more")
        metrics.STAGE_FIGURES.labels(self._task.stage, figure).inc(value)
        metrics.STAGE_MEASUREMENTS.labels(self._task.stage, figure).inc()

    async def fetch(
        self, url: str, headers: Mapping[str, str] | None = None, *, remember: bool = False
    ) -> stages.Page:
        """The page at a URL, through the egress guard, in turn with all other workers."""
        visit = self._equipment.visitor.remembered if remember else self._equipment.visitor.get
        with traces.fetch(url):
            return await visit(url, headers or {}, self._patience())

    async def follow(
        self, url: str, headers: Mapping[str, str], read: Callable[[stages.Page], Awaitable[stages.Reading[R]]]
    ) -> stages.Followed[R]:
        """A source that is looked at again and again."""
        with traces.fetch(url):
            return await self._equipment.visitor.follow(url, headers, read, self._patience())

    def _patience(self) -> float:
        """Seconds to wait for a turn: not so many that none are left for the work."""
        return max(min(PATIENCE_SECONDS, self.remaining() / 3), 0.0)

    async def isolated(self, function: Callable[[A], R], argument: A) -> R:
        """The result of a pure function run in a limited child process."""
        return await self._equipment.children.run(function, argument, wall_seconds=max(self.remaining(), 0.1))

    async def attach(self, format: str, content: bytes, content_type: str) -> None:
        """Stores a further file of this step, as it is, so that people can open it by a link."""
        if len(self.files) >= 16 and format not in self.files:
            raise PermanentError("a step can attach 16 files and this is one more; put several into one")
        place = inputs.place(self._task)
        failpoints.reach(Failpoint.FILE_STORING)
        put = self._equipment.store.put
        self.files[format] = await outages.outlast(
            lambda: put(place, content, content_type=content_type, compress=False)
        )
        failpoints.reach(Failpoint.FILE_STORED)
