"""A task's input: the documents that it names, put together as the stage's input model."""

import asyncio
import datetime
import functools
from collections.abc import Iterable
from typing import Any

import pydantic
import pydantic_core

from consumers.runtime import outages
from consumers.runtime.equipment import Equipment
from contracts import messages
from contracts.errors import InvalidInputError
from contracts.messages import Inputs, Joined, StageTask
from contracts.model import Model, explain
from contracts.refs import DataRef
from infra import documents

_LARGE = 64 * 1024
"""Documents above this many bytes are parsed in a thread: the event loop must stay free for heartbeats."""

_SPLIT = 4 * 1024 * 1024
"""Documents of up to this many bytes stay split: each shard of a fan-out wants one record of the same document."""


async def load(equipment: Equipment, model: type[Model], task: StageTask) -> Model:
    """The task's input, every document verified against its reference.

    Raises InputGoneError or TransientError if a document cannot be had, InvalidInputError if it does not fit the model.
    """
    inputs = task.inputs
    if task.manifest is not None:
        inputs = Inputs.model_validate_json(await _get(equipment, task.manifest))
    found = await _fetch(equipment, _references(inputs, task))
    body = _document(inputs, task, found)
    if len(body) > _LARGE:
        return await asyncio.to_thread(_validate, model, body)
    return _validate(model, body)


def _references(inputs: Inputs, task: StageTask) -> Iterable[DataRef]:
    for source in inputs.fields.values():
        yield from source.outputs if isinstance(source, Joined) else (source,)
    if task.shard_input is not None:
        yield task.shard_input.ref


async def _fetch(equipment: Equipment, refs: Iterable[DataRef]) -> dict[str, bytes]:
    wanted = {ref.sha256: ref for ref in refs}
    found = {sha256: documents.carried(ref) for sha256, ref in wanted.items() if ref.data is not None}
    stored = [ref for sha256, ref in wanted.items() if sha256 not in found]
    if stored:
        bodies = await asyncio.gather(*(_get(equipment, ref) for ref in stored))
        found.update(zip((ref.sha256 for ref in stored), bodies, strict=True))
    return found


async def _get(equipment: Equipment, ref: DataRef) -> bytes:
    return await outages.outlast(lambda: equipment.documents.get(ref))


def _document(inputs: Inputs, task: StageTask, found: dict[str, bytes]) -> bytes:
    """The input as one JSON text, so that it is parsed and validated in one pass, without objects in between."""
    parts = [_member(name, pydantic_core.to_json(value)) for name, value in task.parameters.items()]
    for name, source in inputs.fields.items():
        parts.append(_member(name, _joined(source, found) if isinstance(source, Joined) else found[source.sha256]))
    if task.shard_input is not None:
        parts.append(_member(task.shard_input.field, _record(task.shard_input, found)))
    return b"{" + b",".join(parts) + b"}"


def _member(name: str, value: bytes) -> bytes:
    return pydantic_core.to_json(name) + b":" + value


def _joined(source: Joined, found: dict[str, bytes]) -> bytes:
    outputs = b",".join(found[ref.sha256] for ref in source.outputs)
    failures = b",".join(failure.model_dump_json(exclude_none=True).encode() for failure in source.failures)
    return b'{"outputs":[' + outputs + b'],"failures":[' + failures + b"]}"


def _record(shard: messages.ShardInput, found: dict[str, bytes]) -> bytes:
    document = found[shard.ref.sha256]
    try:
        if len(document) <= _SPLIT:
            return _records(document)[shard.index]
        return pydantic_core.to_json(_listed(document)[shard.index])
    except (KeyError, IndexError, TypeError) as error:
        raise InvalidInputError(f"document {shard.ref.uri} has no record {shard.index}") from error


@functools.lru_cache(maxsize=4)
def _records(document: bytes) -> tuple[bytes, ...]:
    return tuple(map(pydantic_core.to_json, _listed(document)))


def _listed(document: bytes) -> list[Any]:
    records = pydantic_core.from_json(document)["records"]
    if not isinstance(records, list):
        raise TypeError("records are a list")
    return records


def _validate(model: type[Model], body: bytes) -> Model:
    try:
        return model.model_validate_json(body)
    except pydantic.ValidationError as error:
        raise InvalidInputError(explain(error)) from error


def place(task: StageTask) -> documents.Place:
    """Where documents of this attempt are kept."""
    return documents.Place(task.context.client, datetime.datetime.now(datetime.UTC).date(), task.key)
