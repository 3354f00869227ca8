"""What an unusable message is about, as far as it can be told: whose it is, which step it means, what it refers to."""

import dataclasses
import itertools
import json
import uuid
from collections.abc import Iterator, Mapping

from contracts.messages import Json
from contracts.tiers import Tier

READ_LIMIT = 1_000_000
"""Bytes of a body that are looked at; the factory's own messages are far smaller."""

TEXT_LIMIT = 200
REFS_LIMIT = 100
DEPTH_LIMIT = 20
INTEGER_LIMIT = 2**31 - 1
"""What a column of type integer holds."""


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """What a body says of itself; nothing of it has been checked against anything."""

    client: str | None = None
    tier: str | None = None
    template: str | None = None
    execution_id: uuid.UUID | None = None
    stage: str | None = None
    step: str | None = None
    shard: int | None = None
    epoch: int | None = None
    attempt: int | None = None
    refs: tuple[Mapping[str, Json], ...] = ()


def of(queue: str | None, body: bytes) -> Subject:
    """The subject of a message that was found in a queue, whatever its body holds."""
    stage, tier = _place(queue or "")
    document = _document(body)
    told = document.get("context")
    context = told if isinstance(told, dict) else {}
    return Subject(
        client=_text(document, "client") or _text(context, "client"),
        tier=_text(context, "tier") or tier,
        template=_text(document, "template") or _text(context, "template"),
        execution_id=_identifier(document.get("execution_id")),
        stage=stage or _text(document, "stage"),
        step=_text(document, "step"),
        shard=_integer(document, "shard"),
        epoch=_integer(document, "epoch"),
        attempt=_integer(document, "attempt"),
        refs=refs(document),
    )


def refs(value: Json) -> tuple[Mapping[str, Json], ...]:
    """The references to documents anywhere in a value, the first hundred, without what they carry inline."""
    return tuple(itertools.islice(_refs(value, 0), REFS_LIMIT))


def plain(text: str) -> str:
    """The text as Postgres can store it, which has neither U+0000 nor half a surrogate pair."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _place(queue: str) -> tuple[str | None, str | None]:
    """The stage and the tier that the name of a queue holds."""
    first, _, rest = queue.partition(".")
    name, _, last = rest.rpartition(".")
    tier = last if last in Tier.__members__.values() else None
    return (name or None) if first == "stage" and tier else None, tier


def _document(body: bytes) -> dict[str, Json]:
    if len(body) > READ_LIMIT:
        return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(document: Mapping[str, Json], name: str) -> str | None:
    value = document.get(name)
    return plain(value)[:TEXT_LIMIT] if isinstance(value, str) else None


def _integer(document: Mapping[str, Json], name: str) -> int | None:
    value = document.get(name)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and isinstance(value, int) and 0 <= value <= INTEGER_LIMIT else None


def _identifier(value: Json) -> uuid.UUID | None:
    try:
        return uuid.UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _refs(value: Json, depth: int) -> Iterator[Mapping[str, Json]]:
    if depth > DEPTH_LIMIT:
        return
    if isinstance(value, dict):
        uri, digest = value.get("uri"), value.get("sha256")
        if isinstance(uri, str) and isinstance(digest, str):
            size = value.get("size")
            kept: dict[str, Json] = {"uri": plain(uri)[:1024], "sha256": plain(digest)[:TEXT_LIMIT]}
            yield {**kept, "size": size} if isinstance(size, int) else kept
            return
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in inner:
        yield from _refs(part, depth + 1)
