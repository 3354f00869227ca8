"""How a call to a model ends: in an answer, or in one of a closed set of faults."""

import dataclasses
import enum


class Outcome(enum.StrEnum):
    """What became of a call."""

    ANSWERED = "answered"
    INVALID = "invalid"
    TRUNCATED = "truncated"
    DECLINED = "declined"
    LIMITED = "limited"
    REJECTED = "rejected"
    FAILED = "failed"
    LOST = "lost"
    UNREACHABLE = "unreachable"


@dataclasses.dataclass(frozen=True)
class Tokens:
    """What the service says that it counted; ``cached`` is a part of ``input``."""

    input: int
    cached: int
    output: int


class CallError(Exception):
    """A call without an answer.

    ``free`` is set where the service is known to have done nothing; otherwise the call may have cost, by ``tokens`` if
    the service told them. ``after`` are the seconds for which it asked to be left alone.
    """

    def __init__(
        self,
        outcome: Outcome,
        explanation: str,
        *,
        free: bool = False,
        tokens: Tokens | None = None,
        after: float | None = None,
    ) -> None:
        super().__init__(explanation)
        self.outcome = outcome
        self.free = free
        self.tokens = tokens
        self.after = after


class GivenUpError(Exception):
    """A model is not asked, or not asked again; the next one may be. The text is fit for a reader of the result."""


class UnusableError(Exception):
    """An answer that came and cannot be used; ``mendable`` if the model can be told what is wrong with it."""

    def __init__(self, outcome: Outcome, explanation: str, mendable: bool = True) -> None:
        super().__init__(explanation)
        self.outcome = outcome
        self.mendable = mendable
