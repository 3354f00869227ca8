"""Wrong clocks: of a worker, of a coordinator, and clocks that jump while they are read."""

import asyncio
from pathlib import Path

from tests.chaos import levers
from tests.chaos.crew import Member
from tests.chaos.matrix import row
from tests.chaos.trial import Trial


def _clock(trial: Trial, name: str) -> tuple[Path, dict[str, str]]:
    """A file that says how wrong the clock is, and the environment of a process that believes it."""
    file = trial.factory.folder / f"{name}.clock"
    file.write_text("+0\n")
    return file, {
        "LD_PRELOAD": str(levers.FAKETIME[0]),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        # Only the calendar's clock is wrong: no machine's monotonic clock jumps.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


async def _jumping(trial: Trial, file: Path) -> None:
    for offset in ("+3600", "-3600", "+86400", "+0"):
        trial.inject(f"{offset} s")
        await asyncio.to_thread(file.write_text, f"{offset}\n")
        await trial.progress(15)
        await asyncio.sleep(4.0)
    trial.heal()
    await trial.progress(15)


async def _unmoved(trial: Trial) -> None:
    await trial.drain()
    kinds = {row_["kind"] for row_ in await trial.fetch("SELECT kind FROM timeline")}
    trial.claim(not kinds & {"lease_lapsed", "task_lost"}, f"a wrong clock moved leases: {sorted(kinds)}")


def _believes(trial: Trial, misled: Member) -> None:
    loaded = Path(f"/proc/{misled.process.pid}/maps").read_text()
    trial.claim(levers.FAKETIME[0].name in loaded, "the process reads the right clock")


@row("42", "clock of a worker an hour wrong, then jumping", "libfaketime")
async def worker(trial: Trial) -> None:
    file, environment = _clock(trial, "worker")
    trial.crew.coordinator()
    misled = trial.crew.worker(environment=environment)
    trial.crew.worker()
    async with trial.load(rate=4.0):
        await _jumping(trial, file)
        _believes(trial, misled)
    await _unmoved(trial)


@row("43", "clock of a coordinator an hour wrong, then jumping", "libfaketime")
async def coordinator(trial: Trial) -> None:
    file, environment = _clock(trial, "coordinator")
    misled = trial.crew.coordinator(environment=environment)
    trial.crew.coordinator()
    trial.crew.worker()
    async with trial.load(rate=4.0):
        await _jumping(trial, file)
        _believes(trial, misled)
    await _unmoved(trial)
