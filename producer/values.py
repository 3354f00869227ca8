"""Parameter values as people write them: parsed by the type that the template declares."""

import dataclasses
import json
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pydantic

from contracts import artifacts, model, registry, templates
from contracts.errors import FactoryError
from contracts.messages import Json
from contracts.parameters import Parameter
from contracts.refs import DataRef
from contracts.templates import Template
from infra import documents, objects
from producer import datasets, definitions

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """A document that stands in a file and is to be stored before a job can name it."""

    path: Path


Value = Json | File


def assignments(pairs: list[str]) -> dict[str, str]:
    """Pairs written as ``name=value``; raises FactoryError for anything else."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise FactoryError(f"parameter '{pair}' has no '='; write it as name=value")
        found[name.strip()] = value
    return found


def of_file(template: Template, path: Path) -> dict[str, Value]:
    """The values of a YAML file of parameters; texts are read as on the command line where another type is declared."""
    read = definitions.read(path)
    if not isinstance(read, dict) or not all(isinstance(name, str) for name in read):
        raise FactoryError(f"{path}: holds {type(read).__name__}; give one name: value pair a line")
    return {
        name: parse(template, name, value) if isinstance(value, str) else typing.cast(Json, value)
        for name, value in read.items()
    }


def parse(template: Template, name: str, text: str) -> Value:
    """A value of the parameter from its text; raises FactoryError that names parameter, value and remedy."""
    declared = {parameter.name: parameter for parameter in template.parameters}
    if name not in declared:
        known = ", ".join(declared) or "none"
        raise FactoryError(f"template '{template.name}' has no parameter '{name}'; it has: {known}")
    try:
        return _PARSERS[declared[name].type](text)
    except ValueError as error:
        wanted = _wanted(declared[name])
        raise FactoryError(f"parameter '{name}' is '{text:.80}'; give {wanted}") from error


def _wanted(parameter: Parameter) -> str:
    return {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "list": "values separated by commas, or a JSON list",
        "document": "@FILE, or the reference of a stored document as JSON",
    }.get(parameter.type, f"a {parameter.type}")


def _boolean(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(word)
    return word in _TRUE


def _list(text: str) -> Json:
    if text.lstrip().startswith("["):
        found: Json = json.loads(text)
        return found
    return [item.strip() for item in text.split(",") if item.strip()]


def _document(text: str) -> Value:
    if text.startswith("@"):
        return File(Path(text[1:]).expanduser())
    return DataRef.model_validate_json(text).model_dump(mode="json", exclude_none=True)


_PARSERS: Mapping[str, Callable[[str], Value]] = MappingProxyType({
    "string": str,
    "integer": int,
    "number": float,
    "boolean": _boolean,
    "list": _list,
    "document": _document,
})  # fmt: skip


async def store(
    template: Template, given: Mapping[str, Value], place: documents.Place, bucket: objects.Objects
) -> dict[str, Json]:
    """The values with every file stored as a document of the type that the template's stages read from it."""
    stored: dict[str, Json] = {}
    for name, value in given.items():
        if isinstance(value, File):
            artifact = _artifact(value.path, document_type(template, name))
            ref = await put(artifact, place, bucket)
            stored[name] = ref.model_dump(mode="json", exclude_none=True)
        else:
            stored[name] = value
    return stored


async def put(artifact: model.Artifact, place: documents.Place, bucket: objects.Objects) -> DataRef:
    """The reference of an artifact that is stored when this returns."""
    return await bucket.put(
        place,
        artifact.model_dump_json().encode(),
        schema=type(artifact).__name__,
        records=model.record_count(artifact),
    )


def document_type(template: Template, name: str) -> type[model.Artifact]:
    """What a document parameter must hold, by the input of the first step that reads it."""
    specs = registry.specs()
    for step in template.steps:
        for field, source in step.inputs.items():
            if source == templates.PARAMETER_INPUT + name and step.stage in specs:
                found = _model(specs[step.stage].input.model_fields[field].annotation)
                if found is not None:
                    return found
    raise FactoryError(f"no step of template '{template.name}' that is installed here reads parameter '{name}'")


def _model(annotation: object) -> type[model.Artifact] | None:
    if isinstance(annotation, type) and issubclass(annotation, model.Artifact):
        return annotation
    return next((found for part in typing.get_args(annotation) if (found := _model(part))), None)


def _artifact(path: Path, kind: type[model.Artifact]) -> model.Artifact:
    try:
        if path.suffix == ".tsv" and kind is artifacts.Catalogue:
            return datasets.read(path)
        return kind.model_validate_json(path.read_bytes())
    except UnicodeDecodeError as error:
        raise FactoryError(f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except OSError as error:
        raise FactoryError(f"{path}: cannot be read: {error.strerror}; give the path of a file") from error
    except pydantic.ValidationError as error:
        raise FactoryError(f"{path}: is no {kind.__name__}: {model.explain(error)}") from error
