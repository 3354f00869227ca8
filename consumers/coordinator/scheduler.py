"""Schedules that are due: each due time becomes one execution, however many coordinators see it."""

import functools
from uuid import UUID

import structlog

from consumers.coordinator import batching, submission, traces, transitions
from consumers.coordinator.transitions import State
from contracts.errors import FactoryError
from infra import cron, database, faults, identifiers, schedules, timers, tracing
from infra.timers import Timer

log = structlog.get_logger()

AGAIN_SECONDS = 60.0
"""Before a schedule whose job the database does not take is tried again."""


async def run_due(state: State, due: Timer) -> None:
    """Submits the job of a schedule that is due; what is wrong with it is written to the schedule, not raised.

    Times that passed unseen count as one.
    """
    span = traces.scheduled(due.subject)
    traceparent = span.traceparent or tracing.fresh()
    try:
        made = await transitions.transact(state, functools.partial(_submit, state, due, traceparent))
    except Exception as error:
        if not batching.may_be_data(error):
            raise
        span.fail(tracing.error_class(error))
        span.end()
        log.error("schedule_not_run", schedule=due.subject, error=faults.told(error))
        await transitions.transact(state, functools.partial(_postpone, due, repr(error)))
        return
    if made is not None:
        span.note({"factory.execution_id": str(made)})
        span.end()


async def _submit(
    state: State, due: Timer, traceparent: str, connection: transitions.Connection
) -> UUID | None:
    """In one transaction the execution, what came of it, and the next time; the lock decides who does it."""
    locked = await schedules.lock(connection, due.subject)
    if not await timers.done(connection, [due]) or locked is None:
        return None
    schedule, now = locked
    if not schedule.active:
        return None
    execution_id, problem = None, ""
    try:
        job = schedule.job(f"schedule:{schedule.id}:{due.due_at.isoformat()}")
        execution_id = (await submission.own(connection, state, job, identifiers.new(), traceparent)).execution_id
    except (FactoryError, ValueError) as error:
        if isinstance(error, database.DatabaseError):
            raise
        problem = str(error)[:2000]
        log.warning("schedule_rejected", schedule=schedule.id, error=faults.told(error))
    await schedules.note(connection, schedule.id, due.due_at, execution_id, problem)
    await timers.set_schedule(connection, schedule.id, cron.next_due(schedule.cron, schedule.timezone, now))
    return execution_id


async def _postpone(due: Timer, problem: str, connection: transitions.Connection) -> None:
    if await schedules.lock(connection, due.subject) is not None:
        await schedules.note(connection, due.subject, due.due_at, None, problem[:2000])
    await timers.postpone(connection, [due], AGAIN_SECONDS)
