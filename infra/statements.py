"""Named SQL statements, kept as SQL."""

import functools
import importlib.resources
import re

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@functools.cache
def load(topic: str) -> dict[str, str]:
    """The statements of ``infra/sql/<topic>.sql`` by name; each begins with a line ``-- name: NAME``."""
    text = importlib.resources.files("infra").joinpath("sql", f"{topic}.sql").read_text()
    _, *parts = _NAME.split(text)
    names, bodies = parts[0::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"infra/sql/{topic}.sql names a statement twice")
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}


def topics() -> list[str]:
    """The names of all files of statements."""
    folder = importlib.resources.files("infra").joinpath("sql")
    return sorted(entry.name.removesuffix(".sql") for entry in folder.iterdir() if entry.name.endswith(".sql"))
