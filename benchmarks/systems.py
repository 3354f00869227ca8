"""The systems that are measured: how each is started, and what it keeps when something dies."""

import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from infra.settings import Settings
from tests import factories

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-peers" / "bin" / "python"
PLUGINS = ROOT / "benchmarks" / "plugins"


@dataclasses.dataclass(frozen=True, slots=True)
class System:
    """A program that drives a system: its arguments after ``python``, whether the pipelines survive the death of every
    process, and which environment it needs. ``window`` is how many pipelines are kept outstanding: enough that more of
    them finish no more a second; ``extra`` are variables for this one alone."""

    name: str
    arguments: tuple[str, ...]
    durable: bool
    peer: bool = False
    window: int = 400
    extra: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def command(self) -> list[str]:
        """What starts it."""
        return [str(PEERS) if self.peer else sys.executable, "-m", *self.arguments]

    def environment(self, settings: Settings, plan: Mapping[str, str]) -> dict[str, str]:
        """The variables that it needs."""
        around = {**factories.variables(settings), **plan, "PYTHONPATH": f"{ROOT}{os.pathsep}{PLUGINS}"}
        level = os.environ.get("FACTORY_LOG_LEVEL", "info")
        return {**around, "FACTORY_SLOTS": str(SLOTS), "FACTORY_LOG_LEVEL": level, **self.extra}


SLOTS = 4000
"""Enough that admission never bounds the throughput: one client of the lowest tier may hold a fifth of them."""

SYSTEMS = {
    system.name: system
    for system in (
        System("factory", ("benchmarks.factory",), durable=True),
        System("floor", ("benchmarks.floor", "floor"), durable=True),
        System("floor-plain", ("benchmarks.floor", "floor-plain"), durable=True),
        System("floor-lean", ("benchmarks.floor", "floor-lean"), durable=True),
        System("faststream", ("benchmarks.peers.faststream_peer",), durable=True, peer=True),
        System("dramatiq", ("benchmarks.peers.dramatiq_peer",), durable=True, peer=True),
        System("celery", ("benchmarks.peers.celery_peer",), durable=True, peer=True, window=60),
        System("dbos", ("benchmarks.peers.dbos_peer",), durable=True, peer=True, window=200),
        System("temporal", ("benchmarks.peers.temporal_peer",), durable=True, peer=True, window=30),
    )
}
