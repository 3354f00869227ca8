"""Messages as bytes: JSON of a bounded size, refused with the field, the value and the remedy where it is wrong."""

import json
import re

import pydantic

from contracts import bundles, messages, steering
from contracts.errors import MessageError, Reason
from contracts.model import Scalar, explain

LIMIT = 32 * 1024
"""No message is larger than this many bytes."""

ALL: dict[str, type[messages.Message]] = {
    model.__name__: model
    for model in (
        messages.SubmitJob,
        steering.CancelExecution,
        steering.SteerExecution,
        steering.SetPause,
        steering.ExecutionSteered,
        steering.PauseSet,
        messages.JobAccepted,
        messages.JobRejected,
        messages.ExecutionFinished,
        messages.StageTask,
        messages.StageAccepted,
        messages.StageProgress,
        messages.StageCompleted,
        messages.StageFailed,
        bundles.TasksEnded,
        messages.WorkerHeartbeat,
        messages.CancelWork,
        messages.DrainWorker,
        messages.ControlSnapshot,
        messages.ExecutionProgressed,
        messages.Probe,
    )
}
"""Every message by the name that the AMQP property ``type`` holds."""

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""U+0000 as JSON writes it. Postgres stores it neither in text nor in jsonb."""


def encode(message: messages.Message) -> bytes:
    """The message as JSON; raises MessageError for one that no reader would take, so that none is ever published."""
    body = message.model_dump_json(exclude_none=True).encode()
    _refuse_nul(type(message).__name__, body)
    if len(body) > LIMIT:
        raise MessageError(Reason.TOO_LARGE, f"{type(message).__name__} has {len(body)} bytes; the limit is {LIMIT}")
    return body


def decode(type_name: str | None, body: bytes) -> messages.Message:
    """The message that the body holds; raises MessageError naming the field, the value and the remedy."""
    model = ALL.get(type_name or "")
    if model is None:
        known = ", ".join(ALL)
        raise MessageError(Reason.UNKNOWN_TYPE, f"property 'type' is {type_name!r}; set it to one of {known}")
    if len(body) > LIMIT:
        raise MessageError(
            Reason.TOO_LARGE,
            f"the body has {len(body)} bytes and the limit is {LIMIT}; "
            "store large parameters as an object and send its reference",
        )
    _refuse_nul(type_name or "", body)
    try:
        return model.model_validate_json(body)
    except pydantic.ValidationError as error:
        raise _refusal(type_name or "", body, error) from error


def _refuse_nul(type_name: str, body: bytes) -> None:
    # Nearly no message holds these six bytes, and looking for them is a hundred times faster than the expression.
    if rb"\u0000" in body and _NUL.search(body):
        raise MessageError(
            Reason.INVALID_MESSAGE, f"{type_name} holds the character U+0000, which no text needs; remove it"
        )


def _refusal(type_name: str, body: bytes, error: pydantic.ValidationError) -> MessageError:
    version = _version(body)
    if version is not None and version != 1:
        return MessageError(Reason.UNKNOWN_VERSION, f"{type_name} has version {version!r}; this reader knows version 1")
    return MessageError(Reason.INVALID_MESSAGE, f"{type_name}: {explain(error)}")


def _version(body: bytes) -> Scalar | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    version = document.get("version") if isinstance(document, dict) else None
    return version if isinstance(version, bool | int | float | str) else None
