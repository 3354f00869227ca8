"""Whether a template can run here: its stages, its expressions, and what fills the inputs of its stages."""

import difflib
import typing
from collections.abc import Iterable, Iterator, Mapping

import pydantic

from contracts import errors, intelligence, model, stages, templates
from infra import expressions

OUTPUT = "json"
"""The format in which every step can deliver: its output itself."""


def check(template: templates.Template, specs: Mapping[str, stages.StageSpec]) -> list[str]:
    """Every problem that keeps the template from running with these stages, each with step, field, value and remedy."""
    return [problem for step in template.steps for problem in _step(template, step, specs)]


def _step(template: templates.Template, step: templates.Step, specs: Mapping[str, stages.StageSpec]) -> Iterator[str]:
    where = f"step '{step.name}'"
    for source, roots in _expressions(step):
        yield from (f"{where}: {problem}" for problem in _expression(template, step, source, roots))
    for name in (step.stage, *step.fallback):
        spec = specs.get(name)
        if spec is None:
            yield f"{where}: stage '{name}' is not known; install the package that has it, or {_instead(name, specs)}"
            continue
        yield from (f"{where}: {problem}" for problem in _fields(step, spec))
        yield from (f"{where}: {problem}" for problem in _documents(template, step, spec, specs))
        yield from (
            f"{where}: deliver has '{wanted}', which stage '{name}' does not make; {_instead(wanted, offered)}"
            for offered in [(OUTPUT, *spec.formats)]
            for wanted in step.deliver
            if wanted not in offered
        )


def _expressions(step: templates.Step) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The step's expressions, each with what it may read; costs are estimated before any step has run."""
    yield step.cost, ("parameters", "context")
    if step.when is not None:
        yield step.when, expressions.ROOTS
    yield from ((source, expressions.ROOTS) for source in step.parameters.values())


def _expression(
    template: templates.Template, step: templates.Step, source: str, roots: tuple[str, ...]
) -> Iterator[str]:
    try:
        program = expressions.compile(source)
    except errors.TemplateError as error:
        yield from error.problems
        return
    known: dict[str, Iterable[str]] = {
        "parameters": [parameter.name for parameter in template.parameters],
        "context": expressions.CONTEXT,
        "steps": _ancestors(template, step.name),
    }
    for path in sorted(expressions.variables(program)):
        if path[0] not in roots:
            yield f"expression '{source}' reads '{'.'.join(path)}'; a cost may use parameters and context only"
        elif len(path) > 1 and path[1] not in known[path[0]]:
            yield f"expression '{source}' reads '{'.'.join(path)}'; {_unreadable(template, path, known[path[0]])}"


def _unreadable(template: templates.Template, path: expressions.Path, known: Iterable[str]) -> str:
    if path[0] == "steps" and path[1] in [step.name for step in template.steps]:
        return f"'{path[1]}' need not be over by then; add it to depends_on"
    return f"there is no '{path[1]}' in {path[0]}; {_instead(path[1], known)}"


def _ancestors(template: templates.Template, name: str) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        news = set(template.step(waiting.pop()).depends_on) - found
        found |= news
        waiting += news
    return found


def _fields(step: templates.Step, spec: stages.StageSpec) -> Iterator[str]:
    """What is wrong with the names of the fields that a step fills."""
    fields = spec.input.model_fields
    filled = [*step.inputs, *step.parameters, *([step.fan_out.field] if step.fan_out else [])]
    for name in sorted(set(filled)):
        if name not in fields:
            yield f"fills '{name}', and the input of stage '{spec.name}' has no such field; {_instead(name, fields)}"
        elif filled.count(name) > 1:
            yield f"fills '{name}' more than once; keep one of inputs, parameters and fan_out.field"
    for name, field in fields.items():
        if field.is_required() and name not in filled:
            yield f"nothing fills '{name}', which stage '{spec.name}' requires; add it to inputs or parameters"


def _documents(
    template: templates.Template, step: templates.Step, spec: stages.StageSpec, specs: Mapping[str, stages.StageSpec]
) -> Iterator[str]:
    """Outputs that do not fit the fields which they are to fill."""
    for name, source in step.inputs.items():
        if source.startswith(templates.PARAMETER_INPUT) or name not in spec.input.model_fields:
            continue
        upstream = template.step(source)
        if upstream.stage not in specs:
            continue
        given = specs[upstream.stage].output
        annotation = spec.input.model_fields[name].annotation
        wanted = set(_models(annotation, joined=upstream.fan_out is not None))
        if not _takes_anything(annotation) and not any(issubclass(given, accepted) for accepted in wanted):
            of_all = "all shards of " if upstream.fan_out else ""
            yield (
                f"inputs.{name} is {of_all}'{source}', which gives {given.__name__}; "
                f"stage '{spec.name}' takes {_names(annotation)} there"
            )


def _takes_anything(annotation: object) -> bool:
    return annotation in (typing.Any, object) or any(map(_takes_anything, typing.get_args(annotation)))


def _models(annotation: object, *, joined: bool) -> Iterator[type[model.Model]]:
    """The models that a field accepts: as they are, or gathered from the shards of a fan-out."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        generic = annotation.__pydantic_generic_metadata__
        gathers = generic["origin"] is intelligence.Gathered
        if joined and gathers:
            yield from (argument for argument in generic["args"] if isinstance(argument, type))
        elif not joined and not gathers and issubclass(annotation, model.Model):
            yield annotation
    else:
        for argument in typing.get_args(annotation):
            yield from _models(argument, joined=joined)


def _names(annotation: object) -> str:
    return getattr(annotation, "__name__", None) or str(annotation).replace("contracts.artifacts.", "")


def _instead(wrong: str, known: Iterable[str]) -> str:
    """A suggestion: the name that was probably meant, or all there are."""
    names = sorted(known)
    close = difflib.get_close_matches(wrong, names, n=1)
    return f"use '{close[0]}'" if close else f"use one of: {', '.join(names) or 'none'}"
