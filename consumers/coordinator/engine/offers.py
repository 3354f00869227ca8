"""What a task says, derived from the snapshot alone, so that it can be derived again whenever it is published again."""

import itertools
from collections.abc import Callable, Mapping

from consumers.coordinator.engine.effects import Offer
from consumers.coordinator.engine.snapshot import Snapshot
from contracts import encoding, messages, refs
from contracts.executions import StepExecution
from contracts.messages import Inputs, Json, ShardInput, StageTask, TaskContext
from contracts.refs import DataRef
from contracts.states import StepStatus
from contracts.templates import PARAMETER_INPUT, Step

Evaluate = Callable[[str, Mapping[str, Json]], Json]
"""The value of an expression for these variables; raises FactoryError where it has none."""

_MOST_OF_A_REFERENCE = 3000
"""Bytes of a reference as JSON, the document that it may carry left out; its uri is the longest field (1,024)."""

_MOST_ESCAPED = 6
"""Bytes that JSON needs for one character at most."""

DEFAULT_TIMEOUT = 60.0
"""Seconds, for a step that names no time-out and was not filled in from its stage's spec."""


def offer(snapshot: Snapshot, row: StepExecution, evaluate: Evaluate) -> Offer:
    """The offer of a row's task; raises FactoryError if it cannot be built or is over the limit of a message."""
    task = build(snapshot, row, evaluate)
    return Offer(task, encoding.encode(task), snapshot.execution.traceparent)


def build(snapshot: Snapshot, row: StepExecution, evaluate: Evaluate) -> StageTask:
    """The task of a row; raises FactoryError if an expression has no value."""
    step = snapshot.template.step(row.step)
    parent = snapshot.step(row.step)
    execution = snapshot.execution
    # Prepared inputs stand in the row of the step itself; its shards share them.
    inputs = Inputs() if parent.manifest else parent.inputs or Inputs(fields=references(snapshot, step))
    return StageTask(
        execution_id=execution.id,
        epoch=row.epoch,
        step=row.step,
        shard=row.shard,
        attempt=row.attempt,
        stage=row.stage,
        context=TaskContext(
            client=execution.client,
            tier=execution.tier,
            template=execution.template,
            template_version=execution.template_version,
            quality=execution.quality,
            optimise_for=execution.optimise_for,
            budget_left=execution.budget_left,
            degraded=row.degraded or parent.degraded,
        ),
        parameters=parameters(snapshot, step, evaluate),
        inputs=inputs,
        manifest=parent.manifest,
        shard_input=shard_input(snapshot, step, row.shard) if row.shard else None,
        timeout=step.timeout or DEFAULT_TIMEOUT,
    )


def parameters(snapshot: Snapshot, step: Step, evaluate: Evaluate) -> dict[str, Json]:
    """The step's parameters; an expression whose value is null leaves its field at the stage's default."""
    if not step.parameters:
        return {}
    variables = snapshot.variables()
    values = {field: evaluate(expression, variables) for field, expression in step.parameters.items()}
    return {field: value for field, value in values.items() if value is not None}


def references(snapshot: Snapshot, step: Step) -> dict[str, messages.TaskInput]:
    """By field, what the step reads of steps that were not fanned out; a step that has no output is left out."""
    fields: dict[str, messages.TaskInput] = {}
    for field, source in step.inputs.items():
        ref = _reference(snapshot, source)
        if ref is not None:
            fields[field] = ref
    return fields


def _reference(snapshot: Snapshot, source: str) -> DataRef | None:
    if source.startswith(PARAMETER_INPUT):
        value = snapshot.execution.parameters.get(source.removeprefix(PARAMETER_INPUT))
        return None if value is None else refs.read(value)
    return snapshot.step(source).output


def needs_preparing(snapshot: Snapshot, step: Step) -> bool:
    """Whether the inputs must be gathered first: an upstream was fanned out, or they are too large for a message."""
    if any(snapshot.template.step(name).fan_out for name in _upstream(step)):
        return True
    fields = references(snapshot, step)
    # Mostly it is enough to know that even the longest way to write them would fit.
    most = sum(_MOST_OF_A_REFERENCE + _MOST_ESCAPED * len(_carried(source)) for source in fields.values())
    if most <= messages.INPUTS_LIMIT:
        return False
    return len(Inputs(fields=fields).model_dump_json(exclude_none=True)) > messages.INPUTS_LIMIT


def _carried(source: messages.TaskInput) -> str:
    return (source.data or "") if isinstance(source, DataRef) else ""


def _upstream(step: Step) -> list[str]:
    return [source for source in step.inputs.values() if not source.startswith(PARAMETER_INPUT)]


def shard_sources(snapshot: Snapshot, step: Step) -> list[DataRef]:
    """The documents over whose records a step is fanned out, one after the other."""
    if step.fan_out is None:
        return []
    rows = [snapshot.step(name) for name in step.fan_out.over]
    return [row.output for row in rows if row.status is StepStatus.COMPLETED and row.output is not None]


def last_shards(snapshot: Snapshot, step: Step) -> list[int]:
    """The shards that have the last record of each of these documents."""
    ends = itertools.accumulate(ref.records or 0 for ref in shard_sources(snapshot, step))
    return sorted(set(ends) - {0})


def shard_input(snapshot: Snapshot, step: Step, shard: int) -> ShardInput:
    """The record that a shard works on; shard 1 has the first record of the first document."""
    if step.fan_out is None:
        raise ValueError(f"step '{step.name}' is not fanned out")
    index = shard - 1
    for ref in shard_sources(snapshot, step):
        if index < (ref.records or 0):
            return ShardInput(field=step.fan_out.field, ref=ref, index=index)
        index -= ref.records or 0
    raise ValueError(f"step '{step.name}' has no shard {shard}")
