"""What a committed transaction owes, and what it came to."""

import collections
import dataclasses
import datetime
from typing import NamedTuple
from uuid import UUID

from consumers.coordinator.engine.effects import Offer
from consumers.coordinator.engine.snapshot import Snapshot
from consumers.coordinator.memory import Seen
from contracts.executions import Execution
from contracts.messages import ExecutionFinished, TaskKey
from infra.outbox import Owed


class Ended(NamedTuple):
    """An execution that is over, and what is told about it."""

    execution: Execution
    message: ExecutionFinished


@dataclasses.dataclass(slots=True)
class Outcome:
    """Tasks and messages to publish, steps to prepare, executions before and after, facts that did not count, jobs by
    the kind of the answer; and what was seen of executions, to be remembered after the commit. ``at`` is the database's
    time of the transaction, None if it wrote no step. ``accepted`` are the executions of jobs by the trace context that
    each was given, where spans are made."""

    tasks: list[Offer] = dataclasses.field(default_factory=list)
    owed: list[Owed] = dataclasses.field(default_factory=list)
    prepare: list[TaskKey] = dataclasses.field(default_factory=list)
    changed: list[tuple[Snapshot, Snapshot]] = dataclasses.field(default_factory=list)
    finished: list[Ended] = dataclasses.field(default_factory=list)
    ignored: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    answered: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    seen: list[Seen] = dataclasses.field(default_factory=list)
    at: datetime.datetime | None = None
    accepted: dict[str, UUID] = dataclasses.field(default_factory=dict)

    def add(self, other: "Outcome") -> None:
        """Takes in what another transaction owes."""
        self.tasks += other.tasks
        self.owed += other.owed
        self.prepare += other.prepare
        self.changed += other.changed
        self.finished += other.finished
        self.ignored += other.ignored
        self.answered += other.answered
        self.seen += other.seen
        self.at = other.at or self.at
        self.accepted.update(other.accepted)
