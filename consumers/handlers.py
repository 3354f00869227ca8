"""Which code does the work of which stage."""

import dataclasses
from collections.abc import Iterable

from consumers.runtime.work import Run
from consumers.stages import content_classifier, feed_fetcher, report_builder, rss_librarian, topic_researcher
from contracts import registry
from contracts.errors import FactoryError
from contracts.stages import StageSpec


@dataclasses.dataclass(frozen=True, slots=True)
class Handler:
    """A stage with its code."""

    spec: StageSpec
    run: Run


OWN = (rss_librarian, topic_researcher, feed_fetcher, content_classifier, report_builder)


def handlers() -> dict[str, Handler]:
    """Every stage that this installation can do, by name."""
    own = {module.SPEC.name: Handler(module.SPEC, module.run) for module in OWN}
    return own | {name: Handler(module.SPEC, module.run) for name, module in registry.plugins().items()}


def choose(names: Iterable[str]) -> list[Handler]:
    """The handlers of these stages, all if none is named; raises FactoryError for a stage that is not installed."""
    known = handlers()
    wanted = list(dict.fromkeys(names)) or list(known)
    for name in wanted:
        if name not in known:
            raise FactoryError(f"stage '{name}' is not installed; installed are: {', '.join(known)}")
    return [known[name] for name in wanted]
