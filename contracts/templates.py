"""Templates: versioned graphs of steps, and the rules that a template and its parameters must meet."""

from typing import Annotated, Literal, Self

import pydantic

from contracts.errors import ErrorClass, TemplateError
from contracts.messages import Name
from contracts.model import Model
from contracts.model import problems as problems_of
from contracts.parameters import Parameter
from contracts.tiers import Tier

LONGEST_TIMEOUT = 20 * 60.0
"""Seconds. RabbitMQ closes the channel of a consumer that holds a delivery for 30 minutes; a time-out of 20 and up to
five minutes of waiting in the worker stay clear of that. Longer work is fanned out."""

DEFAULT_WINDOW = 200
"""How many shards of one fan-out are offered at a time unless the step says otherwise."""

Expression = Annotated[str, pydantic.StringConstraints(min_length=1, max_length=2000)]
PARAMETER_INPUT = "parameters."


class Retry(Model):
    """When and how a failed attempt is tried again; ``attempts`` counts the first one, delays are in seconds."""

    attempts: Annotated[int, pydantic.Field(ge=1, le=50)] = 3
    base: Annotated[float, pydantic.Field(gt=0, le=3600)] = 1.0
    cap: Annotated[float, pydantic.Field(gt=0, le=86400)] = 300.0
    classes: frozenset[ErrorClass] = frozenset({ErrorClass.TRANSIENT, ErrorClass.TIMEOUT})


class Join(Model):
    """How many shards must complete: all, any one, at least a count, or a percentage of them."""

    policy: Literal["all", "any", "at_least", "percentage"] = "all"
    value: Annotated[float, pydantic.Field(ge=0)] = 0

    def needed(self, shards: int) -> int:
        """How many of so many shards must complete for the step to complete."""
        match self.policy:
            case "all":
                return shards
            case "any":
                return min(1, shards)
            case "at_least":
                return int(self.value)
            case "percentage":
                return -int(-shards * self.value // 100)


class FanOut(Model):
    """One task for each record of the outputs of these steps; ``field`` of the stage's input takes the record."""

    over: Annotated[tuple[Name, ...], pydantic.Field(min_length=1)]
    field: Name
    join: Join = Join()
    window: Annotated[int, pydantic.Field(ge=1, le=10_000)] = DEFAULT_WINDOW


class Step(Model):
    """A node of the graph.

    ``inputs`` maps a field of the stage's input model to the step whose output fills it, or to ``parameters.NAME`` for
    a parameter that is a document. ``parameters`` maps a field to a CEL expression. ``when`` is a CEL condition: where
    it is false the step is skipped. ``cost`` is a CEL expression: the estimate that fair admission counts with.
    ``deliver`` lists the formats of this step's output that are handed to the client.
    """

    name: Name
    stage: Name
    depends_on: tuple[Name, ...] = ()
    when: Expression | None = None
    inputs: dict[Name, str] = pydantic.Field(default_factory=dict)
    parameters: dict[Name, Expression] = pydantic.Field(default_factory=dict)
    retry: Retry | None = None
    timeout: Annotated[float, pydantic.Field(gt=0)] | None = None
    fallback: tuple[Name, ...] = ()
    optional: bool = False
    fan_out: FanOut | None = None
    cost: Expression = "1.0"
    deliver: tuple[Name, ...] = ()

    def sources(self) -> frozenset[str]:
        """The steps whose outputs this one reads."""
        read = {source for source in self.inputs.values() if not source.startswith(PARAMETER_INPUT)}
        return frozenset(read | set(self.fan_out.over if self.fan_out else ()))


class Template(Model):
    """A versioned graph of steps with the parameters that a job may set.

    ``on_budget`` says what happens when the money is used up: the work goes on without paid calls (degrade), waits
    until somebody resumes it (pause), or ends with what it has (stop).
    """

    name: Name
    version: Annotated[int, pydantic.Field(ge=1)] = 1
    title: str = ""
    description: str = ""
    tiers: frozenset[Tier] = frozenset(Tier)
    parameters: tuple[Parameter, ...] = ()
    on_budget: Literal["degrade", "pause", "stop"] = "stop"
    steps: Annotated[tuple[Step, ...], pydantic.Field(min_length=1, max_length=200)]

    @pydantic.model_validator(mode="after")
    def _is_a_graph(self) -> Self:
        problems = [*_unknown_names(self), *_limits(self)]
        if not problems:
            problems = _fan_outs(self)
        if not problems and not order(self):
            problems.append("steps depend on each other in a circle; remove one of their depends_on")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def step(self, name: str) -> Step:
        """The step of that name; raises KeyError where there is none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)


def _unknown_names(template: Template) -> list[str]:
    names = [step.name for step in template.steps]
    parameters = {parameter.name: parameter for parameter in template.parameters}
    problems = [
        f"step '{name}' is defined twice; rename one" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    for step in template.steps:
        problems += [
            f"step '{step.name}': depends_on names '{name}', which is no step of this template"
            for name in step.depends_on
            if name not in names
        ]
        problems += [
            f"step '{step.name}': reads the output of '{name}'; add it to depends_on"
            for name in sorted(step.sources() - set(step.depends_on))
        ]
        for field, source in step.inputs.items():
            if source.startswith(PARAMETER_INPUT):
                parameter = parameters.get(source.removeprefix(PARAMETER_INPUT))
                if parameter is None or parameter.type != "document":
                    problems.append(
                        f"step '{step.name}': inputs.{field} is '{source}'; declare that parameter with type document"
                    )
    return problems


def _limits(template: Template) -> list[str]:
    return [
        f"step '{step.name}': timeout is {step.timeout:g} s and the limit is {LONGEST_TIMEOUT:g} s, because the "
        "broker takes a delivery back after 30 minutes; split the work with fan_out"
        for step in template.steps
        if step.timeout is not None and step.timeout > LONGEST_TIMEOUT
    ]


def _fan_outs(template: Template) -> list[str]:
    problems: list[str] = []
    for step in template.steps:
        if step.fan_out is None:
            continue
        problems += [
            f"step '{step.name}': fan_out.over names '{name}', which is fanned out itself and has no document; "
            "put a step between them that gathers its outputs"
            for name in step.fan_out.over
            if template.step(name).fan_out
        ]
        if step.deliver:
            problems.append(
                f"step '{step.name}': deliver is {list(step.deliver)}, but a step that is fanned out has no document; "
                "deliver that of a step after it"
            )
        if step.fan_out.join.policy == "percentage" and step.fan_out.join.value > 100:
            problems.append(f"step '{step.name}': fan_out.join.value is {step.fan_out.join.value:g}; give at most 100")
    return problems


def order(template: Template) -> tuple[str, ...]:
    """The names of the steps, each after all that it depends on; empty if they form a circle."""
    waiting = {step.name: set(step.depends_on) for step in template.steps}
    done: list[str] = []
    while waiting:
        free = [name for name, needs in waiting.items() if needs <= set(done)]
        if not free:
            return ()
        done += free
        for name in free:
            del waiting[name]
    return tuple(done)


def parse(document: object) -> Template:
    """The template that a parsed YAML or JSON document describes; raises TemplateError with every problem found."""
    try:
        return Template.model_validate(document)
    except pydantic.ValidationError as error:
        raise TemplateError(problems_of(error)) from error
