"""Rows of executions and of their steps, as the values that they hold."""

from typing import Any

from contracts import messages
from contracts.errors import ErrorClass
from contracts.executions import Execution, StepExecution
from contracts.refs import DataRef
from contracts.states import ExecutionStatus, PauseReason, StepStatus
from contracts.tiers import OptimiseFor, Quality, Tier
from infra import database


def execution(row: database.Row) -> Execution:
    """An execution, with what was spent and how long ago it was submitted."""
    return Execution(
        id=row["id"],
        client=row["client_id"],
        submit_key=row["submit_key"],
        template=row["template"],
        template_version=row["template_version"],
        parameters=row["parameters"],
        tier=Tier(row["tier"]),
        quality=Quality(row["quality"]),
        optimise_for=OptimiseFor(row["optimise_for"]),
        epoch=row["epoch"],
        status=ExecutionStatus(row["status"]),
        budget=row["budget"],
        used=row["used"] or 0,
        month_left=row["month_left"],
        pause_reason=PauseReason(row["pause_reason"]) if row["pause_reason"] else None,
        reply_to=row["reply_to"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
        explanation=row["explanation"],
        seconds=row["seconds"],
    )


def step(row: database.Row) -> StepExecution:
    """A step or a shard."""
    return StepExecution(
        execution_id=row["execution_id"],
        step=row["step"],
        shard=row["shard"],
        epoch=row["epoch"],
        attempt=row["attempt"],
        status=StepStatus(row["status"]),
        stage=row["stage"],
        retries=row["retries"],
        fallback=row["fallback"],
        worker=row["worker"],
        starts=tuple(row["starts"]),
        shards=row["shards"],
        inputs=None if row["inputs"] is None else messages.Inputs.model_validate(row["inputs"]),
        manifest=_reference(row["manifest"]),
        output=_reference(row["output"]),
        files={k: DataRef.model_validate(v) for k, v in (row["files"] or {}).items()},
        summary=row["summary"] or {},
        metrics=row["metrics"] or {},
        error_class=ErrorClass(row["error_class"]) if row["error_class"] else None,
        error=row["error"],
        error_details=row["error_details"] or {},
        fraction=row["fraction"],
        note=row["note"],
        dispatched_at=row["dispatched_at"],
        degraded=row["degraded"],
        remade=row["remade"],
    )


def _reference(value: Any) -> DataRef | None:
    return None if value is None else DataRef.model_validate(value)
