"""The parameters of a template: what a job may set, and what is wrong with what it sets."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Self

import pydantic

from contracts import refs
from contracts.errors import FactoryError, TemplateError
from contracts.messages import Json, Name
from contracts.model import Model
from contracts.tiers import Tier


class Parameter(Model):
    """A value that a job may set: its type and limits, and which tiers may set it."""

    name: Name
    type: Literal["string", "integer", "number", "boolean", "list", "document"]
    description: str = ""
    required: bool = False
    default: Json = None
    minimum: float | None = None
    maximum: float | None = None
    max_length: Annotated[int, pydantic.Field(ge=0)] = 1000
    pattern: str | None = None
    choices: tuple[Json, ...] = ()
    visible_to: frozenset[Tier] = frozenset(Tier)
    editable_by: frozenset[Tier] = frozenset(Tier)

    @pydantic.model_validator(mode="after")
    def _is_usable(self) -> Self:
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ValueError(f"pattern '{self.pattern}' is no regular expression: {error}") from error
        # The default of a document may name a packaged dataset, which applying the template stores and refers to.
        checked = self.default is not None and self.type != "document"
        if checked and (problems := check(self, self.default)):
            raise ValueError(f"default of parameter '{self.name}' is {self.default!r:.80}; {problems[0]}")
        return self


def resolve(parameters: Iterable[Parameter], tier: Tier, given: Mapping[str, Json]) -> dict[str, Json]:
    """The parameters of a job with defaults filled in; raises TemplateError naming field, value and remedy."""
    declared = {parameter.name: parameter for parameter in parameters}
    known = ", ".join(declared) or "none"
    problems = [
        f"parameter '{name}' is not one of this template's; it has: {known}" for name in given if name not in declared
    ]
    resolved: dict[str, Json] = {}
    for name, parameter in declared.items():
        if name in given:
            if tier not in parameter.editable_by:
                allowed = ", ".join(sorted(parameter.editable_by))
                problems.append(
                    f"parameter '{name}' cannot be set by tier {tier}; leave it out, or use one of: {allowed}"
                )
            problems += [
                f"parameter '{name}' is {given[name]!r:.80}; {problem}" for problem in check(parameter, given[name])
            ]
            resolved[name] = given[name]
        elif parameter.required:
            problems.append(f"parameter '{name}' is missing; it is of type {parameter.type}")
        else:
            resolved[name] = parameter.default
    if problems:
        raise TemplateError(problems)
    return resolved


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "document": (dict,),
}


def check(parameter: Parameter, value: Json) -> list[str]:
    """What is wrong with a value for this parameter; empty if it fits."""
    wrong_type = not isinstance(value, _TYPES[parameter.type]) or (
        isinstance(value, bool) and parameter.type != "boolean"
    )
    if wrong_type:
        return [f"make it of type {parameter.type}"]
    if parameter.choices and value not in parameter.choices:
        return ["choose one of " + ", ".join(repr(choice) for choice in parameter.choices)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _out_of_range(parameter, value)
    if isinstance(value, str | list) and len(value) > parameter.max_length:
        return [f"its length is {len(value)}; shorten it to {parameter.max_length}"]
    if isinstance(value, str) and parameter.pattern and not re.fullmatch(parameter.pattern, value):
        return [f"make it match {parameter.pattern}"]
    if parameter.type == "document":
        return _not_a_reference(value)
    return []


def _out_of_range(parameter: Parameter, value: float) -> list[str]:
    if parameter.minimum is not None and value < parameter.minimum:
        return [f"give at least {parameter.minimum:g}"]
    if parameter.maximum is not None and value > parameter.maximum:
        return [f"give at most {parameter.maximum:g}"]
    return []


def _not_a_reference(value: Json) -> list[str]:
    try:
        refs.read(value)
    except FactoryError as error:
        return [str(error)]
    return []
