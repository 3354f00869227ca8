"""The base of every value that crosses a process boundary."""

import pydantic


class Model(pydantic.BaseModel):
    """An immutable value that refuses fields it does not know."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


Scalar = bool | int | float | str
"""What a summary may hold: a number or a label."""

Summary = dict[str, Scalar]
"""Numbers and labels of a finished step, the only facts that conditions and mappings see; at most 2 KiB as JSON."""

SUMMARY_LIMIT = 2048


class Artifact(Model):
    """A document that a stage produces.

    An artifact that can be fanned out keeps its items in a field named ``records``.
    """

    def summary(self) -> Summary:
        """The numbers and labels that later steps may decide on."""
        return {}


def record_count(artifact: Artifact) -> int | None:
    """How many records the artifact holds, or None if it is not a list of records."""
    records = getattr(artifact, "records", None)
    return len(records) if isinstance(records, list | tuple) else None
