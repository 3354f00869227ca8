"""References to documents: the only way data crosses a queue."""

import hashlib
from typing import Annotated, Literal, Self

import pydantic

from contracts.errors import FactoryError
from contracts.model import Model, explain

INLINE = "inline:"
INLINE_LIMIT = 4096
"""Documents up to this many bytes travel inside their reference."""


class DataRef(Model):
    """Where a document is, and how to know that it is the right one.

    ``sha256`` and ``size`` are those of the document itself, before any encoding for storage. A document of up to 4 KiB
    stands in ``data`` as text and its ``uri`` is ``inline:``; any other is the object ``s3://bucket/key``.
    """

    uri: Annotated[str, pydantic.StringConstraints(pattern=r"^(inline:|s3://[^/]+/.+)$", max_length=1024)]
    sha256: Annotated[str, pydantic.StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, pydantic.Field(ge=0)]
    content_type: Annotated[str, pydantic.StringConstraints(max_length=128)] = "application/json"
    encoding: Literal["zstd"] | None = None
    records: Annotated[int, pydantic.Field(ge=0)] | None = None
    schema_name: Annotated[str | None, pydantic.Field(alias="schema", max_length=128)] = None
    data: Annotated[str, pydantic.StringConstraints(max_length=INLINE_LIMIT)] | None = None

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    @pydantic.model_validator(mode="after")
    def _data_belongs_to_inline(self) -> Self:
        if (self.uri == INLINE) != (self.data is not None):
            raise ValueError("data goes with the uri 'inline:' and with no other")
        return self


def read(value: object) -> DataRef:
    """The reference that a value from outside is; raises FactoryError that says what is wrong with it."""
    try:
        return DataRef.model_validate(value)
    except pydantic.ValidationError as error:
        raise FactoryError(f"give the reference of a stored document ({explain(error)})") from error


def inline(
    document: bytes, *, content_type: str = "application/json", schema: str | None = None, records: int | None = None
) -> DataRef:
    """A reference that carries the document itself, which must be UTF-8 text of at most 4 KiB."""
    if len(document) > INLINE_LIMIT:
        raise ValueError(f"a document of {len(document)} bytes is too large to travel inline (limit {INLINE_LIMIT})")
    return DataRef(
        uri=INLINE,
        sha256=hashlib.sha256(document).hexdigest(),
        size=len(document),
        content_type=content_type,
        records=records,
        schema_name=schema,
        data=document.decode(),
    )
