"""Which processes of the factory a supervisor is to run, as a value that survives in a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "plan.json"


@dataclass(frozen=True)
class ProcessSpec:
    """A command to keep running, ``count`` times over.

    Lower ``order`` starts first and stops last. A spec that runs ``once`` must end with status 0 before the next
    one starts, and is not started again. At ``health_port`` it tells how it is and what it measures.
    """

    name: str
    argv: tuple[str, ...]
    count: int = 1
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    order: int = 0
    once: bool = False
    health_port: int | None = None


def save(home: Path, specs: Sequence[ProcessSpec]) -> None:
    """Keep the plan in the home folder, readable by its owner alone."""
    path = home / FILE
    path.touch(mode=0o600)
    path.write_text(json.dumps([asdict(spec) for spec in specs], indent=1))


def recall(home: Path) -> list[ProcessSpec]:
    """The plan that was saved last."""
    rows = json.loads((home / FILE).read_text())
    return [ProcessSpec(**{**row, "argv": tuple(row["argv"])}) for row in rows]
