"""Runs a stage without any server, for the tests of those who write stages."""

import dataclasses
import datetime
import time
import types
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

from contracts import analysis, errors, llm, messages, model, stages, tiers
from contracts import memory as client_memory
from contracts.memory import KnownStory, PastReport, Recollection, SourceHistory, SourceYield

A = TypeVar("A")
R = TypeVar("R")
Input = TypeVar("Input", bound=model.Model)
InputTaken = TypeVar("InputTaken", bound=model.Model, contravariant=True)
Output = TypeVar("Output", bound=model.Artifact)
OutputGiven = TypeVar("OutputGiven", bound=model.Artifact, covariant=True)

Fetch = Callable[[str, Mapping[str, str]], Awaitable[stages.Page]]


class Stage(Protocol[InputTaken, OutputGiven]):
    """What a stage's module offers."""

    SPEC: stages.StageSpec

    async def run(self, ctx: stages.StageContext, task: InputTaken) -> OutputGiven:
        """Do the stage's work."""
        ...


class File(NamedTuple):
    """A further file that a stage attached."""

    content: bytes
    content_type: str


@dataclasses.dataclass(frozen=True)
class Result(Generic[Output]):
    """What a stage gave: its output, its files by format, what it reported, logged, spent and measured.

    ``spent`` is in millionths of a US dollar; a reservation of which nothing was told counts in full.
    """

    output: Output
    files: dict[str, File]
    progress: tuple[tuple[float, str], ...]
    log: tuple[tuple[str, str], ...]
    spent: int = 0
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)


async def no_network(url: str, headers: Mapping[str, str]) -> stages.Page:
    """The fetch of a stage that should not need any."""
    raise errors.PermanentError(f"the stage fetched {url}; give harness.run a fetch function that answers it")


async def run(
    module: Stage[Input, Output],
    task: Input,
    *,
    analyst: analysis.Analyst,
    fetch: Fetch = no_network,
    now: datetime.datetime | None = None,
    budget: int | None = None,
    degraded: bool = False,
    memory: "Memory | None" = None,
    models: llm.Llm | None = None,
) -> Result[Output]:
    """Run the stage once on its input; errors of the stage come through, and so does a wrong type of input or output.

    Input and output pass through JSON, as they do between processes. ``now`` fixes the time that the stage sees,
    ``budget`` is what its paid calls may cost in all, ``degraded`` is an attempt that is to go without them, and
    ``memory`` is what the client was told before; afterwards it holds what the stage kept. ``models`` are the language
    models, none by default.
    """
    purse = Purse(budget, degraded)
    started = now or datetime.datetime.now(datetime.UTC)
    context = Context(module.SPEC, analyst, fetch, started, purse, memory, models)
    given = module.SPEC.input.model_validate_json(task.model_dump_json())
    if type(given) is not type(task):
        raise TypeError(f"stage '{module.SPEC.name}' takes {module.SPEC.input.__name__}, not {type(task).__name__}")
    output = await module.run(context, task)
    module.SPEC.output.model_validate_json(output.model_dump_json())
    return Result(output, context.files, tuple(context.reported), tuple(context.lines), purse.used, context.figures)


class Cache:
    """A cache for the length of a test."""

    def __init__(self) -> None:
        self._values: dict[str, messages.Json] = {}

    async def get(self, key: str) -> messages.Json:
        """The value last put under the key."""
        return self._values.get(key)

    async def put(self, key: str, value: messages.Json, seconds: float) -> None:
        """Keep the value."""
        self._values[key] = value


@dataclasses.dataclass(frozen=True)
class Kept:
    """What a stage left for later executions."""

    subject: str
    report: PastReport
    stories: tuple[KnownStory, ...]
    sources: tuple[SourceYield, ...]


class Memory:
    """The memory of one client of a test; ``kept`` is what the stage left, None as long as it left nothing."""

    def __init__(
        self, recollection: Recollection | None = None, sources: Mapping[str, SourceHistory] | None = None
    ) -> None:
        self._recollection = recollection or Recollection()
        self._sources = sources or {}
        self.kept: Kept | None = None

    async def recall(self, subject: str) -> Recollection:
        """What the test gave, whatever the subject."""
        return self._recollection

    async def sources(self) -> Mapping[str, SourceHistory]:
        """What the test gave."""
        return self._sources

    async def keep(
        self, subject: str, report: PastReport, stories: Sequence[KnownStory], sources: Sequence[SourceYield]
    ) -> None:
        """Note what is left."""
        self.kept = Kept(subject, report, tuple(stories), tuple(sources))


class Purse:
    """The money of a test."""

    def __init__(self, limit: int | None, degraded: bool) -> None:
        self.limit = limit
        self.degraded = degraded
        self.used = 0

    async def reserve(self, amount: int, purpose: str) -> stages.Reservation:
        """Set the money aside if there is enough of it."""
        if self.degraded:
            raise errors.BudgetError(f"'{purpose}' is a paid call, and the attempt is degraded")
        if amount <= 0:
            raise errors.PermanentError(f"the stage reserves {amount} for '{purpose}'; give at least 1")
        if self.limit is not None and self.used + amount > self.limit:
            raise errors.BudgetError(f"'{purpose}' may cost {amount} and {self.limit - self.used} is left")
        self.used += amount
        return Reservation(self, amount)


class Reservation:
    """Money of a test that is set aside; it holds the stage to the same order of calls as the ledger does."""

    def __init__(self, purse: Purse, amount: int) -> None:
        self._purse = purse
        self._amount = amount
        self._begun = False
        self._resolved = False

    def begin(self) -> None:
        """Note that the call goes out."""
        self._begun = True

    async def post(self, actual: int, usage: stages.Usage | None = None) -> None:
        """Count what the call cost."""
        if not self._begun:
            raise errors.PermanentError("a call is posted that was not begun; call begin() before the paid call")
        self._resolve(actual)

    async def void(self) -> None:
        """Count nothing."""
        self._resolve(0)

    def _resolve(self, actual: int) -> None:
        if self._resolved:
            raise errors.PermanentError("a reservation is resolved twice")
        self._resolved = True
        self._purse.used += actual - self._amount

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        if not self._begun and not self._resolved:
            await self.void()


class Context:
    """A stage's context that keeps what it is told; it runs isolated functions in this process."""

    def __init__(
        self,
        spec: stages.StageSpec,
        analyst: analysis.Analyst,
        fetch: Fetch,
        now: datetime.datetime,
        purse: Purse | None = None,
        memory: Memory | None = None,
        models: llm.Llm | None = None,
    ) -> None:
        purse = purse or Purse(None, degraded=False)
        self.key = messages.TaskKey(uuid.UUID(int=0), 1, spec.name, 0, 1)
        self.task = messages.TaskContext(
            client="test",
            tier=tiers.Tier.BASIC,
            template="test",
            template_version=1,
            budget_left=purse.limit,
            degraded=purse.degraded,
        )
        self.budget: stages.Budget = purse
        self.analyst = analyst
        self.llm: llm.Llm = models or llm.ClosedLlm("the test gives no model; give harness.run one as models=")
        self.cache: stages.Cache = Cache()
        self.memory: client_memory.Memory = memory or Memory()
        self.log: stages.Log = self
        self.files: dict[str, File] = {}
        self.figures: dict[str, float] = {}
        self.reported: list[tuple[float, str]] = []
        self.lines: list[tuple[str, str]] = []
        self._fetch = fetch
        self._now = now
        self._deadline = time.monotonic() + spec.timeout

    @property
    def idempotency_key(self) -> str:
        """The same in every run."""
        return f"{self.key.execution_id}/{self.key.epoch}/{self.key.step}/{self.key.shard}"

    def now(self) -> datetime.datetime:
        """The time that the test fixed, or that of the start."""
        return self._now

    def remaining(self) -> float:
        """Seconds left before the stage's time-out."""
        return self._deadline - time.monotonic()

    def info(self, event: str, **values: object) -> None:
        """Keep the line."""
        self.lines.append(("info", f"{event} {values}"))

    def warning(self, event: str, **values: object) -> None:
        """Keep the line."""
        self.lines.append(("warning", f"{event} {values}"))

    def measure(self, figure: str, value: float) -> None:
        """Keep the figure."""
        self.figures[figure] = value

    async def progress(self, fraction: float, note: str = "") -> None:
        """Keep the report."""
        self.reported.append((fraction, note))

    async def fetch(self, url: str, headers: Mapping[str, str] | None = None, *, remember: bool = False) -> stages.Page:
        """What the test's own function gives; nothing is remembered."""
        return await self._fetch(url, headers or {})

    async def follow(
        self, url: str, headers: Mapping[str, str], read: Callable[[stages.Page], Awaitable[stages.Reading[R]]]
    ) -> stages.Followed[R]:
        """The same, read."""
        page = await self._fetch(url, headers)
        return stages.Followed((await read(page)).result, page)

    async def isolated(self, function: Callable[[A], R], argument: A) -> R:
        """The result of the function, without limits."""
        return function(argument)

    async def attach(self, format: str, content: bytes, content_type: str) -> None:
        """Keep the file."""
        self.files[format] = File(content, content_type)
