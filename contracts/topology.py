"""Exchanges, queues, bindings and policy of the broker, as data.

Queues carry as few arguments as possible, because arguments cannot be changed later: what can stand in a policy does.
"""

import dataclasses
from collections.abc import Iterable
from typing import Literal

from contracts.tiers import Tier

JOBS = "factory.jobs"
STAGES = "factory.stages"
EVENTS = "factory.events"
NOTIFICATIONS = "factory.notifications"
DEAD = "factory.dead"
EXCHANGES = (JOBS, STAGES, EVENTS, NOTIFICATIONS, DEAD)

DEAD_LETTERS = "dead-letters"
HEARTBEATS = "heartbeats"
CONTROL = "factory.control"
PROBE = "probe"

BUNDLED = "events"
"""Header that says how many events a message holds."""

TRACEPARENTS = "traceparents"
"""Header of a message that holds several events: the trace context of each in their order, with commas between."""

HEARTBEAT_SECONDS_TO_LIVE = 15
CONTROL_HISTORY_SECONDS = 3600
DELIVERY_LIMIT = 20
POLICY = "factory"

QueueKind = Literal["quorum", "classic", "stream"]


@dataclasses.dataclass(frozen=True)
class Queue:
    """A durable queue; ``bindings`` are pairs of exchange and routing key."""

    name: str
    kind: QueueKind = "quorum"
    bindings: tuple[tuple[str, str], ...] = ()
    arguments: tuple[tuple[str, str | int], ...] = ()

    def declaration(self) -> dict[str, str | int]:
        """The arguments with which the queue is declared."""
        return {"x-queue-type": self.kind, **dict(self.arguments)}


def jobs_queue(tier: Tier) -> str:
    """Where jobs of a tier wait for the coordinator."""
    return f"jobs.{tier}"


def job_key(tier: Tier) -> str:
    """Routing key with which a job of a tier is published."""
    return f"job.{tier}"


def events_queue(tier: Tier) -> str:
    """Where events of a tier's executions wait for the coordinator."""
    return f"events.{tier}"


def event_key(tier: Tier) -> str:
    """Routing key with which events of a tier's executions are published."""
    return f"event.{tier}"


def stage_queue(stage: str, tier: Tier) -> str:
    """Where tasks of a stage wait for a worker; also their routing key."""
    return f"stage.{stage}.{tier}"


def queues(stages: Iterable[str]) -> list[Queue]:
    """Every queue of a factory with these stages."""
    found = [
        Queue(DEAD_LETTERS, bindings=((DEAD, "#"),)),
        Queue(PROBE),
        Queue(HEARTBEATS, kind="classic"),
        # How long a stream keeps its history is an argument, because readers count on it whatever the policies are.
        Queue(CONTROL, kind="stream", arguments=(("x-max-age", f"{CONTROL_HISTORY_SECONDS}s"),)),
    ]
    for tier in Tier:
        found.append(Queue(jobs_queue(tier), bindings=((JOBS, job_key(tier)),)))
        found.append(Queue(events_queue(tier), bindings=((EVENTS, event_key(tier)),)))
        found += [
            Queue(stage_queue(name, tier), bindings=((STAGES, stage_queue(name, tier)),)) for name in sorted(stages)
        ]
    return found


POLICY_PATTERN = r"^(jobs|events|stage)\.|^probe$"
POLICY_DEFINITION: dict[str, str | int] = {
    "dead-letter-exchange": DEAD,
    "dead-letter-strategy": "at-least-once",
    "overflow": "reject-publish",
    "delivery-limit": DELIVERY_LIMIT,
}
"""At-least-once dead-lettering needs a quorum queue, reject-publish and a dead-letter exchange (RabbitMQ manual)."""
