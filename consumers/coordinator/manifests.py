"""Gathering the inputs of a step that reads a joined fan-out, or more than a message can hold.

The coordinator writes manifests and never reads a document: workers resolve what a manifest names.
"""

import datetime
from collections.abc import Awaitable, Callable

from consumers.coordinator import transitions
from consumers.coordinator.engine import facts, offers
from consumers.coordinator.engine.snapshot import Snapshot
from consumers.coordinator.transitions import State
from contracts import messages
from contracts.messages import Inputs, TaskKey
from contracts.refs import DataRef
from contracts.states import StepStatus
from contracts.templates import PARAMETER_INPUT
from infra import database, executions, leases

Store = Callable[[TaskKey, str, datetime.date, bytes], Awaitable[DataRef]]
"""Stores a manifest of a task of a client on a day and returns its reference."""


async def prepare(state: State, store: Store, key: TaskKey) -> facts.Prepared | None:
    """The inputs of a step that is ready, as references or as a stored manifest; None if it is ready no more.

    Doing this twice does no harm: the same inputs make the same manifest.
    """
    async with state.pool.acquire() as connection, connection.transaction():
        loaded = await transitions.load(connection, state, [facts.TaskLost(key)])
        snapshot = loaded.snapshots.get(key.execution_id)
        row = snapshot.rows.get((key.step, key.shard)) if snapshot else None
        if snapshot is None or row is None or row.key != key or row.status is not StepStatus.READY:
            return None
        inputs = await _gather(connection, snapshot, key.step)
        today = (await leases.now(connection)).date()
    document = inputs.model_dump_json(exclude_none=True).encode()
    if len(document) <= messages.INPUTS_LIMIT:
        return facts.Prepared(key, inputs, None)
    return facts.Prepared(key, Inputs(), await store(key, snapshot.execution.client, today, document))


async def _gather(connection: database.Connection, snapshot: Snapshot, name: str) -> Inputs:
    step = snapshot.template.step(name)
    fields: dict[str, messages.TaskInput] = offers.references(snapshot, step)
    for field, source in step.inputs.items():
        if source.startswith(PARAMETER_INPUT) or snapshot.template.step(source).fan_out is None:
            continue
        if snapshot.step(source).status is StepStatus.COMPLETED:
            fields[field] = await executions.joined(connection, snapshot.step(source))
    return Inputs(fields=fields)
