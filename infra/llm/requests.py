"""A question as it is sent: messages and the shape of the answer; and an answer as it is read."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import pydantic

from contracts.llm import Question
from contracts.model import Model
from infra.llm import fences
from infra.llm.endpoint import Reply
from infra.llm.faults import Outcome, UnusableError

A = TypeVar("A", bound=Model)

OVERHEAD_TOKENS = 64
"""What a service adds around messages: roles, marks of beginning and end."""

CHARACTERS_A_TOKEN = 3
"""For the limits of a service, which are its own estimates as well; prices are reserved by bytes."""

QUOTED_CHARACTERS = 8000
MOST_PROBLEMS = 8
RUN = 7
"""Words of the instructions that stand in an answer by no chance."""

_TITLE = re.compile(r"\W+")
_WORD = re.compile(r"\w+")


class Request(NamedTuple):
    """What goes to a model, whichever it is."""

    messages: Sequence[Mapping[str, str]]
    shape: Mapping[str, Any]
    most_tokens: int

    @property
    def key(self) -> str:
        """The same for the same question."""
        return hashlib.sha256(json.dumps(self, sort_keys=True).encode()).hexdigest()

    @property
    def most_input_tokens(self) -> int:
        """What the service can count as input at most: no token is shorter than a byte."""
        return len(json.dumps(self, ensure_ascii=False).encode()) + OVERHEAD_TOKENS

    @property
    def about_tokens(self) -> int:
        """What the call about uses of the service's limits."""
        return self.most_input_tokens // CHARACTERS_A_TOKEN + self.most_tokens

    def mending(self, answer: str, problem: str) -> "Request":
        """The same with the answer that it got and what was wrong with that."""
        told = f"That answer cannot be used: {problem} Answer again, with the whole JSON object and nothing else."
        further = (
            {"role": "assistant", "content": fences.clean(answer)[:QUOTED_CHARACTERS]},
            {"role": "user", "content": told},
        )
        return self._replace(messages=(*self.messages, *further))


def of(question: Question[A], thinking: int) -> Request:
    """The request that asks a question, with room for so many tokens of thought before the answer."""
    return Request(
        messages=(
            {"role": "system", "content": f"{question.instructions.strip()}\n\n{fences.RULES}"},
            {"role": "user", "content": fences.fenced(question.data)},
        ),
        shape={
            "name": _TITLE.sub("_", question.prompt.partition("/")[0]),
            "strict": True,
            "schema": schema(question.answer),
        },
        most_tokens=question.most_tokens + thinking,
    )


def schema(answer: type[Model]) -> dict[str, Any]:
    """The JSON Schema of an answer. A strict one needs every field required and no further ones, as Model has it."""
    found = answer.model_json_schema()
    for part in (found, *found.get("$defs", {}).values()):
        if part.get("type") == "object" and set(part.get("required", ())) != set(part.get("properties", {})):
            raise TypeError(f"{answer.__name__} has fields with defaults: a strict answer has none")
    return found


def read(reply: Reply, question: Question[A]) -> A:
    """The answer in a reply. Raises UnusableError with what is wrong with it."""
    if reply.declined:
        raise UnusableError(Outcome.DECLINED, "it declined to answer", mendable=False)
    if reply.truncated:
        raise UnusableError(Outcome.TRUNCATED, "it was cut off before its end; be shorter.")
    return parse(reply.text, question)


def parse(text: str, question: Question[A]) -> A:
    """The answer in a text, which is JSON of the right shape and passes the question's own checks."""
    try:
        answer = question.answer.model_validate_json(text)
    except pydantic.ValidationError as error:
        raise UnusableError(Outcome.INVALID, _told(error)) from error
    if _repeats(answer.model_dump_json(), question):
        raise UnusableError(Outcome.INVALID, "it repeats its instructions.")
    if found := question.problems(answer):
        raise UnusableError(Outcome.INVALID, " ".join(found[:MOST_PROBLEMS]))
    return answer


def _repeats(text: str, question: Question[A]) -> bool:
    """Whether some words of the instructions stand in a text in their order: a stranger may have asked for them."""
    own = _runs(f"{question.instructions} {fences.RULES}")
    return not own.isdisjoint(_runs(text))


def _runs(text: str) -> set[str]:
    words = _WORD.findall(text.casefold())
    return {" ".join(words[start : start + RUN]) for start in range(len(words) - RUN + 1)}


def _told(error: pydantic.ValidationError) -> str:
    """What is wrong without the words of the answer, names of its fields included: they may be those of a stranger."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)[:MOST_PROBLEMS]
    kinds = {problem["type"] for problem in problems}
    if "json_invalid" in kinds:
        return "it is not JSON."
    if "extra_forbidden" in kinds:
        return "it has fields that were not asked for."
    places = (
        f"{'.'.join(str(part) for part in problem['loc'])[:80] or 'the whole'}: {problem['type']}."
        for problem in problems
    )
    return " ".join(places)
