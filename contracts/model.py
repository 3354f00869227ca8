"""The base of every value that crosses a process boundary."""

import pydantic


class Model(pydantic.BaseModel):
    """An immutable value that refuses fields it does not know."""

    # JSON knows no NaN and no infinity: what is written as null could not be read again.
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
    records = vars(artifact).get("records")
    return len(records) if isinstance(records, list | tuple) else None


def problems(error: pydantic.ValidationError) -> list[str]:
    """What is wrong with a value: field, value and what is expected; a rule of the whole value speaks for itself."""
    found: list[str] = []
    for problem in error.errors(include_url=False):
        field = ".".join(str(part) for part in problem["loc"]) or "body"
        if problem["type"] == "value_error":
            place = f"field '{field}': " if problem["loc"] else ""
            found += [place + rule for rule in problem["msg"].removeprefix("Value error, ").split("\n")]
            continue
        value = repr(problem["input"])
        shown = value if len(value) <= 80 else value[:77] + "..."
        found.append(f"field '{field}' is {shown}: {problem['msg']}")
    return found


def explain(error: pydantic.ValidationError) -> str:
    """The first five problems of a value as one line."""
    return "; ".join(problems(error)[:5])[:1900]
