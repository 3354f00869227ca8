"""One attempt at a task: load, run, store. Whatever happens ends in exactly one event."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pydantic_core
import structlog

from consumers.runtime import inputs, outages, text
from consumers.runtime.context import Context, Report
from consumers.runtime.equipment import Equipment
from contracts import encoding, model
from contracts.errors import (
    BusyError,
    ErrorClass,
    MessageError,
    OutageError,
    PermanentError,
    StageError,
    TransientError,
)
from contracts.messages import StageCompleted, StageFailed, StageTask
from contracts.model import Artifact, Summary
from contracts.refs import DataRef
from contracts.stages import StageContext, StageSpec
from infra import failpoints, tracing
from infra.failpoints import Failpoint

log = structlog.get_logger()

Run = Callable[[StageContext, Any], Awaitable[Artifact]]
"""The code of a stage; its input is of the model that its spec names."""

Event = StageCompleted | StageFailed


class Ended(NamedTuple):
    """How an attempt ended, and that as it is published."""

    event: Event
    body: bytes


_LONG_TEXT, _MANY_ITEMS = 64 * 1024, 64

EXPLANATION_BYTES = 2000
DETAIL_BYTES = 1024
DETAILS = 8
"""An explanation and its details may quote hostile text, and must fit a message however they are escaped."""


async def attempt(
    equipment: Equipment, spec: StageSpec, run: Run, task: StageTask, worker: str, report: Report
) -> Ended:
    """How the attempt ended; only a cancellation ends it without telling."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(task.timeout):
            event = await _completed(equipment, spec, run, task, worker, report, began)
        return Ended(event, encoding.encode(event))
    except TimeoutError:
        error: StageError = StageError(f"the work took longer than its time-out of {task.timeout:g} s")
        return _failed(task, worker, began, error, ErrorClass.TIMEOUT)
    except StageError as failure:
        return _failed(task, worker, began, failure, failure.error_class)
    except MessageError as refusal:
        return _failed(task, worker, began, StageError(str(refusal)), ErrorClass.PERMANENT)
    except Exception as fault:
        # A fault of the stage's code is tried again: it may lie in what the code met, and attempts are limited.
        log.exception(
            "stage_raised", stage=spec.name, execution=str(task.execution_id), step=task.step, shard=task.shard
        )
        surprise = StageError(f"{type(fault).__name__}: {fault}")
        return _failed(task, worker, began, surprise, ErrorClass.TRANSIENT)


async def _completed(
    equipment: Equipment, spec: StageSpec, run: Run, task: StageTask, worker: str, report: Report, began: float
) -> StageCompleted:
    with tracing.child("load"):
        given = await inputs.load(equipment, spec.input, task)
    failpoints.reach(Failpoint.INPUTS_LOADED)
    context = Context(equipment, task, report)
    loaded = time.monotonic()
    with tracing.child("run"):
        output = await run(context, given)
    failpoints.reach(Failpoint.STAGE_RAN)
    if not isinstance(output, spec.output):
        raise PermanentError(
            f"stage '{spec.name}' returned {type(output).__name__} where {spec.output.__name__} is due"
        )
    ran = time.monotonic()
    with tracing.child("store"):
        ref = await _store(equipment, task, output)
    return StageCompleted(
        execution_id=task.execution_id,
        epoch=task.epoch,
        step=task.step,
        shard=task.shard,
        attempt=task.attempt,
        worker=worker,
        output=ref,
        files=context.files,
        summary=_summary(spec, output),
        metrics={
            "seconds": round(time.monotonic() - began, 4),
            "load_seconds": round(loaded - began, 4),
            "run_seconds": round(ran - loaded, 4),
            "output_bytes": ref.size + sum(file.size for file in context.files.values()),
        },
    )


def _document(output: Artifact) -> bytes:
    return output.model_dump_json().encode()


def _may_be_large(output: Artifact) -> bool:
    """Whether to write it as JSON in a thread: the event loop must stay free for heartbeats, and a thread costs more
    than a small document."""
    return any(
        len(value) > (_LONG_TEXT if isinstance(value, str) else _MANY_ITEMS)
        for value in vars(output).values()
        if isinstance(value, str | list | tuple | dict)
    )


async def _store(equipment: Equipment, task: StageTask, output: Artifact) -> DataRef:
    document = await asyncio.to_thread(_document, output) if _may_be_large(output) else _document(output)
    failpoints.reach(Failpoint.OUTPUT_STORING)
    place, schema, records = inputs.place(task), type(output).__name__, model.record_count(output)
    ref = await outages.outlast(lambda: equipment.store.put(place, document, schema=schema, records=records))
    failpoints.reach(Failpoint.OUTPUT_STORED)
    return ref


def _summary(spec: StageSpec, output: Artifact) -> Summary:
    summary = output.summary()
    size = len(pydantic_core.to_json(summary))
    if size > model.SUMMARY_LIMIT:
        raise PermanentError(
            f"the summary of stage '{spec.name}' has {size} bytes and the limit is {model.SUMMARY_LIMIT}; shorten it"
        )
    return summary


def _failed(task: StageTask, worker: str, began: float, error: StageError, error_class: ErrorClass) -> Ended:
    event = StageFailed(
        execution_id=task.execution_id,
        epoch=task.epoch,
        step=task.step,
        shard=task.shard,
        attempt=task.attempt,
        worker=worker,
        error_class=error_class,
        outage=isinstance(error, OutageError | BusyError),
        explanation=text.plain(str(error) or type(error).__name__, EXPLANATION_BYTES),
        details={name: text.plain(value, DETAIL_BYTES) for name, value in list(error.details.items())[:DETAILS]},
        after=min(error.after, 86400.0) if isinstance(error, TransientError) and error.after is not None else None,
        metrics={"seconds": round(time.monotonic() - began, 4)},
    )
    return Ended(event, encoding.encode(event))
