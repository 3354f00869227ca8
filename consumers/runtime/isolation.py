"""A pool of child processes for work on hostile input: a bomb or a crash ends a child, never the worker."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import sys
from asyncio import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self, TypeVar

import pydantic

from consumers.runtime import child
from contracts import errors

A = TypeVar("A")
R = TypeVar("R")

START_SECONDS = 30.0
GOODBYE_SECONDS = 1.0
HEAD_BYTES = 64 * 1024
ERRORS: dict[errors.ErrorClass, type[errors.StageError]] = {
    kind.error_class: kind
    for kind in (errors.PermanentError, errors.InvalidInputError, errors.InputGoneError, errors.BudgetError)
}


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one request may use; ``memory_bytes`` is on top of what the child's imported modules take."""

    cpu_seconds: float = 20.0
    wall_seconds: float = 30.0
    memory_bytes: int = 1024 * 1024 * 1024
    result_bytes: int = 64 * 1024 * 1024


class ChildPool:
    """Child processes that each run one function at a time; an async context manager.

    Children start when they are first needed and live until the pool closes, they break a limit, or this process dies.
    They inherit no descriptor beyond their pipes and no environment, so no secret of the worker's.
    """

    def __init__(self, count: int | None = None, preload: Iterable[str] = (), limits: Limits | None = None) -> None:
        """``count`` is by default the number of cores that this process may use; ``preload`` names modules that each
        child imports at start."""
        self._turns = asyncio.Semaphore(count or len(os.sched_getaffinity(0)))
        self._preload = tuple(preload)
        self._limits = limits or Limits()
        self._children: set[subprocess.Process] = set()
        self._idle: list[subprocess.Process] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in tuple(self._children):
            await self._end(process)

    async def run(self, function: Callable[[A], R], argument: A, *, wall_seconds: float | None = None) -> R:
        """The result of a module-level function whose argument and result are annotated with types that JSON can carry.

        An exception of the function comes back as a StageError. Raises PermanentError if it exceeds a limit or crashes
        its child, and TransientError if the child cannot be started or is killed by someone else.
        """
        call = child.Call(module=function.__module__, function=function.__qualname__).model_dump_json().encode()
        content = child.argument_adapter(function).dump_json(argument)
        reader = child.result_adapter(function)
        wall = self._limits.wall_seconds if wall_seconds is None else wall_seconds
        async with self._turns:
            process = await self._take()
            fit = False
            try:
                head, result = await self._ask(process, wall, call, content)
                fit = not head.worn
            finally:
                if fit:
                    self._idle.append(process)
                else:
                    await self._end(process)
        return _result(head, result, reader)

    async def _take(self) -> subprocess.Process:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
            self._children.discard(process)
        return await self._start()

    async def _start(self) -> subprocess.Process:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", child.__name__,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=_environment(), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise errors.TransientError(f"no child process can be started: {error}") from error
        self._children.add(process)
        start = child.Start(
            parent=os.getpid(),
            preload=self._preload,
            memory_bytes=self._limits.memory_bytes,
            cpu_seconds=self._limits.cpu_seconds,
        )
        ready = False
        try:
            head, _ = await self._ask(process, START_SECONDS, start.model_dump_json().encode())
            _raise_failure(head)
            ready = True
        except errors.StageError as error:
            # Whatever the reason, it is this machine's and not that of the work.
            raise errors.TransientError(f"no child process can be started: {error}") from error
        finally:
            if not ready:
                await self._end(process)
        return process

    async def _ask(self, process: subprocess.Process, wall: float, *parts: bytes) -> tuple[child.Head, bytes]:
        try:
            async with asyncio.timeout(wall):
                return await _exchange(process, parts, self._limits.result_bytes)
        except TimeoutError as error:
            raise errors.PermanentError(f"the work took longer than the limit of {wall:g} s") from error
        except pydantic.ValidationError as error:
            raise errors.PermanentError("the child process that did the work gave a meaningless answer") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise await self._death(process) from error

    async def _death(self, process: subprocess.Process) -> errors.StageError:
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                code = await process.wait()
        except TimeoutError:
            return errors.PermanentError("the child process that did the work stopped answering")
        match -code:
            case signal.SIGXCPU:
                limit = f"{self._limits.cpu_seconds:g} s of processor time"
                return errors.PermanentError(f"the work took more than the limit of {limit}")
            case signal.SIGKILL | signal.SIGTERM:
                return errors.TransientError("the child process that did the work was killed from outside")
            case number if number > 0:
                name = next((known.name for known in signal.Signals if known == number), f"signal {number}")
                return errors.PermanentError(f"the work crashed its process ({name})")
            case _:
                return errors.PermanentError(f"the child process that did the work ended with code {code}")

    async def _end(self, process: subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # Reading to the end closes the pipe as well; a process of the child's own could hold it open.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await process.communicate()
        self._children.discard(process)


async def _exchange(process: subprocess.Process, parts: Iterable[bytes], limit: int) -> tuple[child.Head, bytes]:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a child process was started without pipes")
    for part in parts:
        process.stdin.write(child.LENGTH.pack(len(part)))
        process.stdin.write(part)
    await process.stdin.drain()
    head = child.Head.model_validate_json(await _receive(process.stdout, HEAD_BYTES))
    return head, await _receive(process.stdout, limit)


async def _receive(pipe: asyncio.StreamReader, limit: int) -> bytes:
    (length,) = child.LENGTH.unpack(await pipe.readexactly(child.LENGTH.size))
    if length > limit:
        raise errors.PermanentError(f"the work returned {length:,} bytes and the limit is {limit:,}")
    return await pipe.readexactly(length)


def _raise_failure(head: child.Head) -> None:
    failure = head.failure
    if failure is None:
        return
    # The text may quote hostile input, and it ends on terminals and in logs.
    explanation = "".join(character if character.isprintable() else " " for character in failure.explanation)
    if failure.error_class is errors.ErrorClass.TRANSIENT:
        raise errors.TransientError(explanation, failure.details, failure.after)
    raise ERRORS.get(failure.error_class, errors.PermanentError)(explanation, failure.details)


def _result(head: child.Head, result: bytes, reader: pydantic.TypeAdapter[R]) -> R:
    _raise_failure(head)
    try:
        return reader.validate_json(result)
    except pydantic.ValidationError as error:
        raise errors.PermanentError("the work returned something that is not of its declared type") from error


def _environment() -> dict[str, str]:
    # Nothing is inherited. The child must find modules, and numpy's threads would each take a share of its memory.
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    return {"PYTHONPATH": path, "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
