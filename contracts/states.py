"""States of executions and steps. Within an epoch a terminal state never changes."""

import enum


class ExecutionStatus(enum.StrEnum):
    """Where an execution stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PauseReason(enum.StrEnum):
    """Why a paused execution waits: a person's decision about it, its paused client, its budget, or its own delay."""

    OPERATOR = "operator"
    CLIENT = "client"
    BUDGET = "budget"
    DELAY = "delay"


class StepStatus(enum.StrEnum):
    """Where a step or a shard stands; ``ready`` while its inputs are gathered, ``waiting`` before another attempt."""

    PENDING = "pending"
    READY = "ready"
    DISPATCHED = "dispatched"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


EXECUTION_OVER = frozenset(
    {ExecutionStatus.COMPLETED, ExecutionStatus.PARTIAL, ExecutionStatus.FAILED, ExecutionStatus.CANCELLED}
)
STEP_OVER = frozenset({StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED})
STEP_OFFERED = frozenset({StepStatus.DISPATCHED, StepStatus.RUNNING})
"""A worker has, or may have, the task of such a step."""

STEP_TRIED = frozenset({StepStatus.COMPLETED, StepStatus.FAILED})
"""What becomes of a step that somebody has done; one that is cancelled may never have been begun."""
