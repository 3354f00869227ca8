"""What a committed transaction owes, and what it came to."""

import collections
import dataclasses

from consumers.coordinator.engine.effects import Offer
from consumers.coordinator.engine.snapshot import Snapshot
from consumers.coordinator.memory import Seen
from contracts.messages import TaskKey
from infra.outbox import Owed


@dataclasses.dataclass(slots=True)
class Outcome:
    """Tasks and messages to publish, steps to prepare, executions before and after, facts that did not count; and what
    was seen of executions, to be remembered after the commit."""

    tasks: list[Offer] = dataclasses.field(default_factory=list)
    owed: list[Owed] = dataclasses.field(default_factory=list)
    prepare: list[TaskKey] = dataclasses.field(default_factory=list)
    changed: list[tuple[Snapshot, Snapshot]] = dataclasses.field(default_factory=list)
    finished: int = 0
    ignored: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    seen: list[Seen] = dataclasses.field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        """Takes in what another transaction owes."""
        self.tasks += other.tasks
        self.owed += other.owed
        self.prepare += other.prepare
        self.changed += other.changed
        self.finished += other.finished
        self.ignored += other.ignored
        self.seen += other.seen
