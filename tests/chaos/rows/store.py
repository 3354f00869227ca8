"""Faults of the object store."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from contracts import refs
from infra import objects
from tests import proxy
from tests.chaos import levers, load, servers
from tests.chaos.matrix import row
from tests.chaos.trial import Trial

FAULT_SECONDS = 4.0
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def _sturdy(trial: Trial) -> None:
    """A chain whose every document is an object, and whose steps do not give up while the store is away."""
    big = {"records": "3", "size": "3000"}
    await trial.factory.template(
        "sturdy",
        [
            {"name": "find", "retry": load.PATIENT, "parameters": big},
            {
                "name": "read",
                "retry": load.PATIENT,
                "depends_on": ["find"],
                "fan_out": {"over": ["find"], "field": "record"},
                "parameters": big,
            },
            {
                "name": "join",
                "retry": load.PATIENT,
                "depends_on": ["read"],
                "inputs": {"upstream": "read"},
                "parameters": big,
            },
            {
                "name": "tell",
                "retry": load.PATIENT,
                "depends_on": ["join"],
                "inputs": {"upstream": "join"},
                "parameters": big,
                "deliver": ["json"],
            },
        ],
    )


def _flipped(chunk: bytes) -> bytes:
    """The last byte of an answer with a body is another one."""
    return chunk[:-1] + bytes([chunk[-1] ^ 1]) if len(chunk) > 600 else chunk


def _cut(chunk: bytes) -> bytes | None:
    return None if len(chunk) > 600 else chunk


def _unavailable(chunk: bytes) -> bytes:
    return UNAVAILABLE if chunk.startswith(b"HTTP/1.1") else b""


TAMPERS: tuple[tuple[str, Callable[[bytes], bytes | None]], ...] = (
    ("503", _unavailable),
    ("reset within the body", _cut),
    ("a flipped byte", _flipped),
)


@row("38", "store down, 503, slow, reset within a body, flipped byte", "proxy")
async def falsified(trial: Trial) -> None:
    await _sturdy(trial)
    await trial.staff()
    between = trial.proxies[servers.S3]
    async with trial.load("sturdy", rate=3.0):
        await trial.completed(20)
        trial.inject(f"down for {FAULT_SECONDS:g} s")
        between.refuse()
        await asyncio.sleep(FAULT_SECONDS)
        between.mend()
        for name, tamper in TAMPERS:
            await trial.progress(10)
            trial.inject(f"{name} for {FAULT_SECONDS:g} s")
            between.tamper = tamper
            await asyncio.sleep(FAULT_SECONDS)
            between.mend()
        trial.inject("30 s slow")
        between.pace = proxy.Pace(delay=2.0)
        await asyncio.sleep(30.0)
        between.mend()
        trial.heal()
        await trial.progress(20)


@row("39", "object gone after its upload was acknowledged", "delete after PUT")
async def gone(trial: Trial) -> None:
    await trial.factory.template(
        "vanishing",
        [
            {"name": "find", "parameters": {"records": "3", "size": "3000"}},
            {"name": "pause", "depends_on": ["find"], "parameters": {"seconds": "2.0"}},
            {"name": "tell", "depends_on": ["find", "pause"], "inputs": {"upstream": "find"}, "deliver": ["json"]},
        ],
    )
    await trial.staff()
    taken = 0
    async with objects.of(trial.factory.settings) as store, trial.load("vanishing", rate=3.0):
        for _ in range(8):
            await trial.progress(1)
            rows = await trial.fetch(
                "SELECT f.output FROM step_executions f JOIN step_executions p USING (execution_id) "
                "WHERE f.step = 'find' AND f.status = 'completed' AND f.epoch = 1 AND p.step = 'pause' "
                "AND p.status IN ('dispatched', 'running') LIMIT 1"
            )
            for row_ in rows:
                await store.delete(refs.read(row_["output"]))
                taken += 1
        trial.inject(f"{taken} objects deleted after their steps had completed")
        trial.heal()
        await trial.progress(10)
    await trial.drain()
    again = await trial.fetch("SELECT 1 FROM chaos_history WHERE step = 'find' AND status = 'completed' AND epoch > 1")
    trial.claim(bool(again) or not taken, "no producer of a vanished object was done again")
    statuses = await trial.factory.statuses()
    trial.claim(set(statuses) == {"completed"}, f"executions ended as {statuses}")


@row("40", "disk of the store full, then free again", "small tmpfs", own=True)
async def disk_full(trial: Trial) -> None:
    await _sturdy(trial)
    bucket = Path(trial.servers.home / servers.S3 / "rclone" / trial.factory.settings.s3_bucket)
    disk = trial.cleanup.enter_context(levers.small_disk(bucket, 32))
    await trial.staff()
    async with trial.load("sturdy", rate=3.0):
        await trial.completed(20)
        trial.inject("no room for objects for 8 s")
        ballast = levers.fill(disk)
        await asyncio.sleep(8.0)
        ballast.unlink()
        trial.heal()
        await trial.progress(20)
