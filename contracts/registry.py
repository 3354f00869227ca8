"""The stages that this installation knows: the project's own and those of other packages."""

import importlib.metadata
import types

from contracts import intelligence, stages
from contracts.errors import FactoryError

ENTRY_POINTS = "ai_factory.stages"
"""Group of entry points. Each names a module that has a ``SPEC`` (a StageSpec) and a coroutine function ``run``."""


def plugins() -> dict[str, types.ModuleType]:
    """The modules of other packages that offer a stage, by the stage's name; raises FactoryError for a broken one."""
    found: dict[str, types.ModuleType] = {}
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            module = entry.load()
        except Exception as error:
            raise FactoryError(
                f"stage '{entry.name}' ({entry.value}) cannot be loaded: {error}; mend or uninstall it"
            ) from error
        spec = getattr(module, "SPEC", None)
        if not isinstance(spec, stages.StageSpec) or not callable(getattr(module, "run", None)):
            raise FactoryError(
                f"stage '{entry.name}': module {entry.value} needs SPEC, a StageSpec, and a function run"
            )
        found[spec.name] = module
    return found


def specs() -> dict[str, stages.StageSpec]:
    """The spec of every stage, by name."""
    own = {spec.name: spec for spec in intelligence.STAGES}
    return own | {name: module.SPEC for name, module in plugins().items()}
