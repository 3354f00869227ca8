"""Messages by which people steer what runs, and the answers to them."""

from typing import Literal
from uuid import UUID

from contracts import messages
from contracts.states import ExecutionStatus

Action = Literal["pause", "resume", "retry", "rerun", "restart"]
Pausable = Literal["stage", "client"]


class CancelExecution(messages.Message):
    """Stop an execution of this client: waiting work at once, running work as soon as its worker hears of it."""

    client: messages.Key
    execution_id: UUID
    note: messages.ShortText = ""


class SteerExecution(messages.Message):
    """Pause or resume an execution of this client, or do a part of it again.

    ``retry`` does a step again that did not succeed, and keeps the shards of it that did; ``rerun`` does a step and all
    that depends on it again; ``restart`` does everything again. Each of the three raises the execution's epoch.
    """

    client: messages.Key
    execution_id: UUID
    action: Action
    step: messages.Name | None = None
    note: messages.ShortText = ""


class SetPause(messages.Message):
    """Pause a stage, whose workers then take no tasks, or a client, whose executions then do not go on; or resume."""

    kind: Pausable
    name: messages.Key
    paused: bool
    note: messages.ShortText = ""


class ExecutionSteered(messages.Message):
    """The command was carried out; this is how the execution stands now."""

    execution_id: UUID
    action: Action
    status: ExecutionStatus
    epoch: int


class PauseSet(messages.Message):
    """The stage or the client is paused, or goes on."""

    kind: Pausable
    name: messages.Key
    paused: bool
