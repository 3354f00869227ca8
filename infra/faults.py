"""Errors as logs may tell them: what happened and where, and nothing that somebody else has written."""

import traceback

from contracts.errors import FactoryError, MessageError, OutageError, StageError

OURS = ("contracts", "infra", "consumers", "producer")
SERVERS = ("asyncpg", "aiormq", "pamqp", "aiohttp")
"""Libraries whose errors, apart from those about values, tell of connections and servers."""

VALUES = "22"
"""The class of Postgres' errors whose messages quote a value."""


def told(error: BaseException) -> str:
    """The error in words that quote neither messages nor documents; those stand in the database's records.

    Sentences of the factory's own and what servers and the network say is told, of everything else type and place.
    """
    name = type(error).__name__
    match error:
        case MessageError():
            return f"{name}: {error.reason}"
        case StageError() if not isinstance(error, OutageError):
            return f"{name}: {error.error_class}"
        case FactoryError():
            return str(error)
        case OSError():
            return repr(error)
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        # What Postgres adds as DETAIL quotes rows; the first argument is the message alone.
        return f"{name} {state}" if state.startswith(VALUES) else f"{name}: {error.args[0] if error.args else state}"
    if type(error).__module__.partition(".")[0] in SERVERS:
        return repr(error)
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"{name} at {place(frames[0])}" if frames else name


def place(frame: traceback.FrameSummary) -> str:
    """A line of the source, in a few words."""
    parts = frame.filename.replace("\\", "/").split("/")
    start = next((index for index, part in enumerate(parts) if part in OURS), max(0, len(parts) - 3))
    return f"{'/'.join(parts[start:])}:{frame.lineno} {frame.name}"
