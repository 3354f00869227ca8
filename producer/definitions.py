"""Templates as YAML: read with care, completed from the stages' specs, stored, written out again and compared."""

import datetime
import difflib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import yaml

from contracts import messages, model, parameters, refs, registry, templates, topology
from contracts.errors import FactoryError, TemplateError
from contracts.messages import Json
from contracts.parameters import Parameter
from contracts.templates import Template
from infra import broker, checks, database, documents, objects
from infra import templates as stored_templates
from infra.settings import Settings
from producer import datasets

SIZE_LIMIT = 256 * 1024
"""Bytes of a YAML file; the largest template in use has a fiftieth of it."""

NESTING_LIMIT = 50

DATASET = "dataset"
DATASETS: Mapping[str, Callable[[], model.Artifact]] = MappingProxyType(
    {"catalogue": datasets.packaged, "platforms": datasets.platforms}
)
"""What a document parameter may name as its default: ``{dataset: NAME}``."""

TENANT = "datasets"
_NO_DAY = datetime.date(1970, 1, 1)
_NO_EXECUTION = UUID(int=0)
_SETS = frozenset({"tiers", "visible_to", "editable_by", "classes"})
_MAPPINGS = frozenset({"inputs", "parameters"})


def packaged() -> list[Path]:
    """The files of the templates that come with the project."""
    return sorted((Path(__file__).parent / "templates").glob("*.yaml"))


def read(path: Path) -> object:
    """What a YAML file says; raises TemplateError that names the file, the place and the remedy."""
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise TemplateError([f"{path}: has {path.stat().st_size} bytes and the limit is {SIZE_LIMIT}; shorten it"])
        text = path.read_text("utf-8")
    except OSError as error:
        raise TemplateError([f"{path}: cannot be read: {error.strerror}; give the path of a YAML file"]) from error
    except UnicodeDecodeError as error:
        raise TemplateError([f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8"]) from error
    try:
        _refuse_bombs(path, text)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TemplateError([f"{path}: is not YAML: {' '.join(str(error).split())}"]) from error


def _refuse_bombs(path: Path, text: str) -> None:
    """A few nested aliases stand for more than any memory holds, and deep nesting takes the parser for ever."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise TemplateError([f"{path}: has the alias '*{event.anchor}'; write its value out instead"])
        if depth > NESTING_LIMIT:
            raise TemplateError([f"{path}: is nested deeper than {NESTING_LIMIT} levels; flatten it"])


def load(path: Path) -> Template:
    """The template of a file, completed and sound; raises TemplateError with every problem found."""
    try:
        template = complete(templates.parse(read(path)))
        problems = [*checks.check(template, registry.specs()), *_defaults(template)]
    except TemplateError as error:
        named = [problem if problem.startswith(str(path)) else f"{path}: {problem}" for problem in error.problems]
        raise TemplateError(named) from error
    if problems:
        raise TemplateError([f"{path}: {problem}" for problem in problems])
    return template


def complete(template: Template) -> Template:
    """The template with each step's time-out and retries taken from its stage where it names none."""
    specs = registry.specs()
    steps = tuple(
        step.model_copy(
            update={
                "timeout": specs[step.stage].timeout if step.timeout is None else step.timeout,
                "retry": specs[step.stage].retry if step.retry is None else step.retry,
            }
        )
        if step.stage in specs
        else step
        for step in template.steps
    )
    return template.model_copy(update={"steps": steps})


def _dataset(parameter: Parameter) -> str | None:
    """The packaged dataset that is the default of this parameter."""
    default = parameter.default
    if parameter.type != "document" or not isinstance(default, dict) or set(default) != {DATASET}:
        return None
    return str(default[DATASET])


def _defaults(template: Template) -> Iterator[str]:
    for parameter in template.parameters:
        where = f"parameter '{parameter.name}': default is {parameter.default!r:.80}"
        if (name := _dataset(parameter)) is not None:
            if name not in DATASETS:
                yield f"{where}; there is no such dataset, use one of: {', '.join(DATASETS)}"
        elif parameter.default is not None:
            yield from (f"{where}; {problem}" for problem in parameters.check(parameter, parameter.default))


async def settle(template: Template, store: objects.Objects) -> Template:
    """The template with each ``{dataset: NAME}`` replaced by the reference of that dataset, which is stored.

    The reference depends on the dataset's content alone, so that applying a template again changes nothing.
    """
    parameters = []
    for parameter in template.parameters:
        if (name := _dataset(parameter)) is not None:
            ref = await _store(name, store)
            parameter = parameter.model_copy(update={"default": ref.model_dump(mode="json", exclude_none=True)})
        parameters.append(parameter)
    return template.model_copy(update={"parameters": tuple(parameters)})


async def _store(name: str, store: objects.Objects) -> refs.DataRef:
    artifact = DATASETS[name]()
    return await store.put(
        documents.Place(TENANT, _NO_DAY, messages.TaskKey(_NO_EXECUTION, 1, name, 0, 1)),
        artifact.model_dump_json().encode(),
        schema=type(artifact).__name__,
        records=model.record_count(artifact),
    )


async def apply(
    configured: Settings, connection: database.Connection, store: objects.Objects, found: list[Template]
) -> list[tuple[Template, bool]]:
    """Stores templates, each with whether that made a new version; the queues of all stages exist afterwards."""
    specs = registry.specs()
    await stored_templates.register(connection, specs.values())
    async with broker.connect(configured.amqp_url, name="factory templates apply") as connected:
        await connected.declare(topology.queues(specs))
    return [await stored_templates.apply(connection, await settle(template, store)) for template in found]


async def find(connection: database.Connection, name: str, version: int | None = None) -> Template:
    """A stored template, its newest version if none is named; raises FactoryError that says which there are."""
    template = await stored_templates.load(connection, name, version)
    if template is None:
        rows = await stored_templates.listing(connection)
        own = [str(row["version"]) for row in rows if row["name"] == name]
        if version is not None and own:
            raise FactoryError(f"template '{name}' has no version {version}; it has: {', '.join(own)}")
        close = difflib.get_close_matches(name, {row["name"] for row in rows}, n=1)
        hint = f"did you mean '{close[0]}'?" if close else "see 'factory templates list'"
        raise FactoryError(f"there is no template '{name}'; {hint}")
    return template


def write(template: Template) -> str:
    """The template as YAML that applies back to the same."""
    document: dict[str, Any] = {"name": template.name, "version": template.version}
    document |= _sorted(template.model_dump(mode="json", exclude_defaults=True))
    for written, step in zip(document["steps"], template.steps, strict=True):
        # What a step was completed with is written in full, so that it holds where a stage's own values differ.
        if step.retry is not None:
            written["retry"] = _sorted(step.retry.model_dump(mode="json"))
    for parameter in document.get("parameters", []):
        parameter["default"] = _named(parameter.get("default"))
        if parameter["default"] is None:
            del parameter["default"]
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


def _sorted(value: Any) -> Any:
    """The same with sets and mappings in a fixed order; the database keeps neither's."""
    if isinstance(value, dict):
        return {key: _ordered(key, item) for key, item in value.items()}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def _ordered(key: str, value: Any) -> Any:
    if key in _SETS:
        return sorted(value)
    if key in _MAPPINGS and isinstance(value, dict):
        return dict(sorted(value.items()))
    return _sorted(value)


def _named(default: Json) -> Json:
    """A reference to a dataset of this installation under its name, which holds in every other factory as well."""
    if isinstance(default, dict) and "sha256" in default:
        for name, dataset in DATASETS.items():
            artifact = dataset()
            if default.get("schema") != type(artifact).__name__:
                continue
            if hashlib.sha256(artifact.model_dump_json().encode()).hexdigest() == default["sha256"]:
                return {DATASET: name}
    return default


def compare(old: Template, new: Template, old_name: str, new_name: str) -> list[str]:
    """What changes from one to the other as lines of a unified diff, version numbers aside; empty if nothing does."""
    same = new.model_copy(update={"version": old.version})
    return list(
        difflib.unified_diff(write(old).splitlines(), write(same).splitlines(), old_name, new_name, lineterm="")
    )
