"""What a stage is: its spec, and the context that its code is given."""

import dataclasses
import datetime
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Generic, Literal, NamedTuple, Protocol, Self, TypeVar

from contracts import messages, model, templates
from contracts.analysis import Analyst
from contracts.llm import Llm
from contracts.memory import Memory

A = TypeVar("A")
R = TypeVar("R")

DEFAULT_RETRY = templates.Retry()

ACCEPT_AFTER = 0.2
"""Seconds after which the coordinator is told that the work has begun; shorter work tells only its outcome."""

MOST_AT_ONCE = 200
"""Tasks that one worker does at the same time at most: its heartbeat names all that it holds."""

SHORT_SECONDS = 60.0
TYPICALLY_SHORT_SECONDS = 1.0
"""Workers buffer tasks of stages whose time-out and typical time are at most these; of slower ones they fetch only what
they can start."""


@dataclasses.dataclass(frozen=True)
class StageSpec:
    """The contract of a stage: its name, what goes in and comes out, and how long that takes.

    ``timeout`` and ``typical_seconds`` are in seconds; a step of a template may set its own time-out and retries.
    ``formats`` are the further files that the stage attaches; its output itself is the format ``json``.
    """

    name: str
    input: type[model.Model]
    output: type[model.Artifact]
    description: str = ""
    version: str = "1"
    timeout: float = 60.0
    typical_seconds: float = 1.0
    retry: templates.Retry = DEFAULT_RETRY
    formats: tuple[str, ...] = ()


Origin = Literal["network", "unchanged", "memory", "stale"]
"""Where the body of a page comes from: it was sent, its server said that it is still what it was, nobody had to ask, or
nobody could be asked, so that it is as it was seen last."""


@dataclasses.dataclass(frozen=True)
class Page:
    """A fetched page; ``body`` is decoded from its transfer encoding, ``url`` is the last one of any redirects.

    ``moved`` says that all redirects on the way were permanent, ``received`` how many bytes came over the network, and
    ``because`` why a stale page is not a new one.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    moved: bool = False
    received: int = 0
    origin: Origin = "network"
    because: str = ""


@dataclasses.dataclass(frozen=True)
class Reading(Generic[R]):
    """What a stage made of a page that it follows: the result, the identities of what the page lists, and the date of
    the newest of it where that is known."""

    result: R
    entries: tuple[str, ...] = ()
    newest: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True)
class Followed(Generic[R]):
    """A page that was read, with the result; ``address`` is where it is asked for if it has moved for good."""

    result: R
    page: Page
    address: str = ""


class Log(Protocol):
    """A structured log whose lines carry the task's identity by themselves."""

    def info(self, event: str, **values: object) -> None:
        """Record a fact."""
        ...

    def warning(self, event: str, **values: object) -> None:
        """Record a fact that someone should look at."""
        ...


class Cache(Protocol):
    """Values that all workers of one stage share for a while; what is cached may be gone at any time."""

    async def get(self, key: str) -> messages.Json:
        """The value last put under the key, None if there is none."""
        ...

    async def put(self, key: str, value: messages.Json, seconds: float) -> None:
        """Keeps a JSON value under the key for so many seconds."""
        ...


class Usage(NamedTuple):
    """What a paid call to a model used."""

    model: str
    input_tokens: int = 0
    output_tokens: int = 0


class Reservation(Protocol):
    """Money set aside for one paid call.

    As a context manager it gives the money back if the call was never begun, and leaves it where it is if nobody knows
    what became of the call; then it counts as spent.
    """

    def begin(self) -> None:
        """Say, right before the call goes out, that from here on it may cost, whatever happens."""
        ...

    async def post(self, actual: int, usage: Usage | None = None) -> None:
        """Record what the call cost, in millionths of a US dollar, be it more than was reserved, and what it used."""
        ...

    async def void(self) -> None:
        """Give the money back: the call was not made, or is known to have cost nothing."""
        ...

    async def __aenter__(self) -> Self:
        """The reservation itself."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the money back if the call was never begun."""
        ...


class Budget(Protocol):
    """What the attempt may spend on paid calls; every one of them is reserved before it is made."""

    async def reserve(self, amount: int, purpose: str) -> Reservation:
        """Set aside what a call may cost at most, in millionths of a US dollar.

        Raises BudgetError if the execution or its client has less left, and whenever ``ctx.task.degraded`` is set.
        """
        ...


class StageContext(Protocol):
    """Everything a stage may do besides computing; it reaches the outside through this and nothing else."""

    key: messages.TaskKey
    task: messages.TaskContext
    cache: Cache
    budget: Budget
    memory: Memory

    @property
    def log(self) -> Log:
        """A log whose lines name the task."""
        ...

    @property
    def llm(self) -> Llm:
        """The language models; ``llm.closed`` says why none may be asked, if so."""
        ...

    @property
    def analyst(self) -> Analyst:
        """The analysis engine."""
        ...

    @property
    def idempotency_key(self) -> str:
        """The same for every run of a step or shard in one epoch: hand it to services that charge or send."""
        ...

    def now(self) -> datetime.datetime:
        """The present moment, in UTC."""
        ...

    def remaining(self) -> float:
        """Seconds left before the attempt is timed out."""
        ...

    async def progress(self, fraction: float, note: str = "") -> None:
        """Tell watchers how far the work is, between 0 and 1."""
        ...

    def measure(self, figure: str, value: float) -> None:
        """Count a figure of the stage's own for operators, 0 or more, under a name in small letters such as ``pages``.

        They see how often it was measured and what it came to, so its mean over any time; no client and no text.
        """
        ...

    async def fetch(self, url: str, headers: Mapping[str, str] | None = None, *, remember: bool = False) -> Page:
        """The page at an http or https URL, through the egress guard, when it is its site's turn.

        With ``remember`` it comes from the memory that all workers share while it is fresh, is asked for on the
        condition that it has changed, and is the remembered one, marked as stale, where it cannot be had now; the
        headers must not change what the page holds. Raises TransientError for time-outs, resets, 429, 5xx and sites
        that are to be left alone for a while, and PermanentError for other statuses, refused addresses and bodies that
        are too large.
        """
        ...

    async def follow(
        self, url: str, headers: Mapping[str, str], read: Callable[[Page], Awaitable[Reading[R]]]
    ) -> Followed[R]:
        """The same, remembered, for a source that is looked at again and again, whose state is known to operators.

        ``read`` makes something of the page. What it refuses with a PermanentError counts as a failure of the source,
        and is not remembered; it is then called again with what is remembered, if anything is.
        """
        ...

    async def isolated(self, function: Callable[[A], R], argument: A) -> R:
        """The result of a pure module-level function run in a child process with limits on CPU time and memory.

        Raises PermanentError when the child exceeds a limit or crashes, TransientError when somebody else killed it or
        it cannot be started; the worker is not harmed.
        """
        ...

    async def attach(self, format: str, content: bytes, content_type: str) -> None:
        """Store a further file of this step under a format name such as ``html``."""
        ...
