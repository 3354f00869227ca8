"""Asking a language model for answers of a fixed shape."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, NoReturn, Protocol, TypeVar

from contracts.analysis import ModelUse
from contracts.errors import PermanentError, TransientError
from contracts.model import Model

A = TypeVar("A", bound=Model)


class LlmError(TransientError):
    """No model gave an answer that can be used; the explanation says of each what was wrong."""


class Block(NamedTuple):
    """A piece of text that a model is to work on, and the label by which it is named."""

    label: str
    text: str


def no_problems(answer: object) -> list[str]:
    """Nothing is asked of an answer beyond its shape."""
    return []


@dataclasses.dataclass(frozen=True)
class Question(Generic[A]):
    """What a model is asked: instructions, and data that are never instructions.

    ``prompt`` names the instructions with their version, such as ``relevance/1``. ``answer`` is a model whose fields
    have no defaults. ``problems`` says what is wrong with an answer of that shape, so that a model can mend it.
    ``most_tokens`` bounds the answer, and with it the price.
    """

    prompt: str
    instructions: str
    data: Sequence[Block]
    answer: type[A]
    most_tokens: int
    problems: Callable[[A], list[str]] = no_problems


class Llm(Protocol):
    """The language models that an attempt at a task may ask."""

    @property
    def closed(self) -> str:
        """Why no model may be asked; empty where one may."""
        ...

    async def ask(self, question: Question[A]) -> A:
        """An answer that passed every check: one kept from before, or that of the first model that gives one.

        The call is reserved and posted in the attempt's budget. Raises LlmError where no model gives a usable answer,
        BudgetError where there is no money for it, and PermanentError where no model may be asked.
        """
        ...

    def used(self) -> tuple[ModelUse, ...]:
        """What was asked so far in this attempt, by model."""
        ...


class ClosedLlm:
    """Stands where no model may be asked, and says why."""

    def __init__(self, closed: str) -> None:
        self.closed = closed

    async def ask(self, question: Question[A]) -> NoReturn:
        """Refuses."""
        raise PermanentError(f"'{question.prompt}' cannot be asked: {self.closed}")

    def used(self) -> tuple[ModelUse, ...]:
        """Nothing."""
        return ()
