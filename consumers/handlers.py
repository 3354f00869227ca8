"""Which code does the work of which stage."""

import dataclasses
import importlib
from collections.abc import Iterable

from consumers.runtime.work import Run
from contracts import intelligence, registry
from contracts.errors import FactoryError
from contracts.stages import StageSpec

OWN = {spec.name: f"consumers.stages.{spec.name}" for spec in intelligence.STAGES}
"""The modules of the project's own stages; a worker loads those that it is to do, and no other's libraries."""


@dataclasses.dataclass(frozen=True, slots=True)
class Handler:
    """A stage with its code."""

    spec: StageSpec
    run: Run


def choose(names: Iterable[str]) -> list[Handler]:
    """The handlers of these stages, all if none is named; raises FactoryError for a stage that is not installed."""
    plugins = registry.plugins()
    known = [*OWN, *plugins]
    wanted = list(dict.fromkeys(names)) or known
    for name in wanted:
        if name not in known:
            raise FactoryError(f"stage '{name}' is not installed; installed are: {', '.join(known)}")
    modules = [plugins[name] if name in plugins else importlib.import_module(OWN[name]) for name in wanted]
    return [Handler(module.SPEC, module.run) for module in modules]
