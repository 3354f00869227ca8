"""Functions that misbehave, to be run in child processes."""

import ctypes
import os
import signal
import time
from pathlib import Path

from contracts import errors


def double(number: int) -> int:
    """Behave."""
    return 2 * number


def process_id(_: int) -> int:
    """Tell which process this is."""
    return os.getpid()


def spin(_: int) -> int:
    """Burn processor time for ever."""
    while True:
        pass


def work(seconds: float) -> float:
    """Use so much processor time."""
    began = time.process_time()
    while time.process_time() < began + seconds:
        pass
    return seconds


def sleep(seconds: float) -> float:
    """Hang without using the processor."""
    time.sleep(seconds)
    return seconds


def allocate(mebibytes: int) -> int:
    """Take memory."""
    return len(bytearray(mebibytes * 1024 * 1024))


def crash(_: int) -> int:
    """Die as a broken C extension would."""
    ctypes.string_at(0)
    return 0


def leave(code: int) -> int:
    """End the process in the middle of the work."""
    os._exit(code)


def refuse(explanation: str) -> str:
    """Fail as a stage does."""
    raise errors.InvalidInputError(explanation, {"url": "https://news.example/"})


def stumble(text: str) -> str:
    """Fail as a bug does."""
    raise ValueError(text)


def lie(_: int) -> int:
    """Return something else than promised."""
    result: object = "no number"
    return result if isinstance(result, int) else globals()["_text"]


_text = "no number"


def chatter(text: str) -> str:
    """Write to the standard streams."""
    os.write(1, b"noise" * 1000)
    os.write(2, b"noise" * 1000)
    return text


def fall_silent(_: int) -> int:
    """Close every pipe and stay."""
    os.closerange(0, 64)
    signal.pause()
    return 0


def descriptors(_: int) -> list[str]:
    """Tell what is open."""
    return [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.exists()]


def variables(_: int) -> dict[str, str]:
    """Tell the environment."""
    return dict(os.environ)


def fill_disk(_: int) -> int:
    """Write a file without end."""
    with Path("/tmp/factory-test-hostile").open("wb") as file:
        Path(file.name).unlink()
        while True:
            file.write(b"x" * 16 * 1024 * 1024)
