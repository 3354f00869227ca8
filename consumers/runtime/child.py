"""The child process that runs one function at a time for its parent, on input that nobody vouches for.

It is started as ``python -m consumers.runtime.child`` with a pipe in each direction. Both carry JSON that the receiver
checks against the function's annotations, so a parser that is taken over by what it parses can return wrong data and no
more; a pickle would let it run code in the worker.
"""

import ctypes
import functools
import importlib
import io
import math
import os
import resource
import signal
import struct
import typing
from collections.abc import Callable
from pathlib import Path

import pydantic

from contracts import errors, messages

A = typing.TypeVar("A")
R = typing.TypeVar("R")

LENGTH = struct.Struct("!Q")
SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, prctl(2)
OPEN_FILES = 64
FILE_BYTES = 256 * 1024 * 1024  # libraries unpack their models into temporary files


class Start(pydantic.BaseModel):
    """What a child is told first: its parent's id, the modules to import beforehand, and its limits.

    ``memory_bytes`` is the address space on top of what the imported modules take.
    """

    parent: int
    preload: tuple[str, ...]
    memory_bytes: int
    cpu_seconds: float


class Call(pydantic.BaseModel):
    """Which function to run; its argument follows."""

    module: str
    function: str


class Failure(pydantic.BaseModel):
    """An exception of the function, as data."""

    error_class: errors.ErrorClass
    explanation: messages.ShortText
    details: messages.Details = {}
    after: float | None = None


class Head(pydantic.BaseModel):
    """What precedes a result. A child that is ``worn`` holds too much memory to take another request."""

    failure: Failure | None = None
    worn: bool = False


def argument_adapter(function: Callable[[A], R]) -> pydantic.TypeAdapter[A]:
    """Reads and writes the function's argument; raises TypeError if its type is not annotated."""
    hints = _hints(function)
    name = next((name for name in hints if name != "return"), None)
    if name is None:
        raise TypeError(f"{function.__qualname__} needs a type annotation on its parameter to run in a child process")
    return pydantic.TypeAdapter(hints[name])


def result_adapter(function: Callable[[A], R]) -> pydantic.TypeAdapter[R]:
    """Reads and writes the function's result; raises TypeError if its type is not annotated."""
    hints = _hints(function)
    if "return" not in hints:
        raise TypeError(f"{function.__qualname__} needs a return annotation to run in a child process")
    return pydantic.TypeAdapter(hints["return"])


@functools.cache
def _hints(function: Callable[[A], R]) -> dict[str, typing.Any]:
    return typing.get_type_hints(function)


def main() -> None:
    """Answer requests until the parent closes the pipe or is gone."""
    requests, answers = _claim_pipes()
    start = Start.model_validate_json(_receive(requests) or b"")
    _die_with(start.parent)
    try:
        for module in start.preload:
            importlib.import_module(module)
    except ImportError as error:
        explanation = f"a child process cannot import what it needs: {error}"
        _send(answers, _failure(errors.PermanentError(explanation)).model_dump_json().encode(), b"")
        return
    ceiling = _set_limits(start)
    _send(answers, Head().model_dump_json().encode(), b"")
    while (call := _receive(requests)) is not None:
        argument = _receive(requests) or b""
        _allow_processor_time(start.cpu_seconds)
        head, result = _run(Call.model_validate_json(call), argument, start)
        worn = head.worn or _address_space() > ceiling
        _send(answers, head.model_copy(update={"worn": worn}).model_dump_json().encode(), result)


def _claim_pipes() -> tuple[io.BufferedReader, io.BufferedWriter]:
    # Not every event loop closes what a child should not inherit.
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    # What the function prints must not get between the answers, nor may it read the requests.
    requests, answers = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    return io.BufferedReader(io.FileIO(requests, "r")), io.BufferedWriter(io.FileIO(answers, "w"))


def _receive(pipe: io.BufferedReader) -> bytes | None:
    head = pipe.read(LENGTH.size)
    return pipe.read(*LENGTH.unpack(head)) if len(head) == LENGTH.size else None


def _send(pipe: io.BufferedWriter, *parts: bytes) -> None:
    for part in parts:
        pipe.write(LENGTH.pack(len(part)))
        pipe.write(part)
    pipe.flush()


def _die_with(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if ctypes.CDLL(None, use_errno=True).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # The parent may have died before the signal was asked for.
    if os.getppid() != parent:
        raise SystemExit(1)


def _set_limits(start: Start) -> int:
    """Set the limits that hold for good; returns the address space beyond which the child is worn."""
    used = _address_space()
    resource.setrlimit(resource.RLIMIT_AS, (used + start.memory_bytes, used + start.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    return used + start.memory_bytes // 2


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _allow_processor_time(seconds: float) -> None:
    # The limit counts from the start of the process, so the soft one is raised before each request. The signal that it
    # sends ends the process, which is wanted: no code of the function can catch up with a clock that it ignores.
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(usage.ru_utime + usage.ru_stime + seconds), hard))


def _run(call: Call, argument: bytes, start: Start) -> tuple[Head, bytes]:
    try:
        function: Callable[[object], object] = getattr(importlib.import_module(call.module), call.function)
        value = argument_adapter(function).validate_json(argument)
        return Head(), result_adapter(function).dump_json(function(value))
    except errors.StageError as error:
        return _failure(error), b""
    except MemoryError:
        limit = f"{start.memory_bytes / 2**20:.0f} MiB"
        return _failure(errors.PermanentError(f"the work needs more memory than the limit of {limit}"), worn=True), b""
    except Exception as error:  # whatever hostile input provokes must come back as an answer
        return _failure(errors.PermanentError(f"the work failed: {type(error).__name__}: {error}"[:1000])), b""


def _failure(error: errors.StageError, worn: bool = False) -> Head:
    after = error.after if isinstance(error, errors.TransientError) else None
    details = {name: value[:2048] for name, value in error.details.items()}
    failure = Failure(error_class=error.error_class, explanation=str(error)[:2000], details=details, after=after)
    return Head(failure=failure, worn=worn)


if __name__ == "__main__":
    main()
