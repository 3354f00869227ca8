"""The history checker: what was submitted against what Postgres, the object store and the side-effect log say."""

import asyncio
import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from contracts import refs
from contracts.errors import StageError
from contracts.states import EXECUTION_OVER, STEP_OVER
from infra import objects
from tests import factories

INSTALL = (Path(__file__).parent / "history.sql").read_text()
"""Triggers that make the row's own database write down every move."""

STEP_EDGES: Mapping[str, frozenset[str]] = {
    "pending": frozenset({"ready", "dispatched", "running", "completed", "failed", "skipped", "cancelled"}),
    "ready": frozenset({"dispatched", "failed", "skipped", "cancelled", "waiting"}),
    "dispatched": frozenset({"running", "completed", "failed", "waiting", "dispatched", "cancelled"}),
    "running": frozenset({"completed", "failed", "waiting", "dispatched", "cancelled"}),
    "waiting": frozenset({"dispatched", "ready", "waiting", "failed", "cancelled"}),
}
"""Where a step or shard may go within an epoch. What was offered is offered again, or waits, as a further attempt."""

EXECUTION_EDGES: Mapping[str, frozenset[str]] = {
    "queued": frozenset({"running", "paused", "failed", "cancelled", "partial"}),
    "running": frozenset({"paused", "completed", "partial", "failed", "cancelled"}),
    "paused": frozenset({"queued", "running", "partial", "failed", "cancelled"}),
}


@dataclasses.dataclass
class Verdict:
    """What a run came to; ``problems`` name each broken invariant in words."""

    submitted: int = 0
    lost: int = 0
    doubled: int = 0
    stuck: int = 0
    repeated: int = 0
    attempts: int = 0
    dead: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    problems: list[str] = dataclasses.field(default_factory=list)

    def complain(self, invariant: str, found: Sequence[object], what: str) -> int:
        """Notes what was found against an invariant; returns how much it was."""
        if found:
            self.problems.append(f"{invariant}: {len(found)} {what}, first {found[0]}")
        return len(found)


def legal(move: asyncpg.Record) -> bool:
    """Whether the engine may make this move of a step, shard or execution."""
    if move["before"] is None or move["epoch"] > move["before_epoch"]:
        return True
    edges = EXECUTION_EDGES if move["step"] is None else STEP_EDGES
    if move["rewritten"] or move["epoch"] < move["before_epoch"]:
        return False
    return move["status"] in edges.get(move["before"], frozenset())


def ledger(path: Path) -> dict[str, dict[str, str]]:
    """What the load wrote down of each submit key."""
    found: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for line in path.read_text().splitlines() if path.exists() else ():
        said = json.loads(line)
        found[said["submit_key"]].update(said)
    return found


async def check(factory: factories.Factory, path: Path, expected_dead: Mapping[str, int]) -> Verdict:
    """The verdict over a factory that has drained."""
    verdict = Verdict()
    async with factory.pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        executions = await connection.fetch("SELECT id, client_id, submit_key, status, epoch FROM executions")
        steps = await connection.fetch("SELECT * FROM step_executions")
        moves = await connection.fetch("SELECT * FROM chaos_history ORDER BY id")
        delivered = await connection.fetch("SELECT execution_id, step, format, epoch, ref FROM deliverables")
        letters = await connection.fetch("SELECT kind, reason, queue, message_id, body, execution_id FROM dead_letters")
        owed = await connection.fetch("SELECT message_type, exchange, routing_key FROM outbox")
    _submitted(verdict, ledger(path), executions)
    _quiet(verdict, executions, steps, owed)
    _moves(verdict, moves)
    _effects(verdict, factory.runs(), moves)
    _letters(verdict, letters, expected_dead)
    await _references(verdict, factory, steps, delivered)
    return verdict


def _submitted(
    verdict: Verdict, submitted: Mapping[str, Mapping[str, str]], executions: Sequence[asyncpg.Record]
) -> None:
    """I1: each job that was submitted is an execution, the one that its answer names, and there is no other."""
    rows = {row["submit_key"]: row for row in executions}
    verdict.submitted = len(submitted)
    lost = [key for key in submitted if key not in rows]
    verdict.lost = verdict.complain("I1", lost, "submitted jobs have no execution")
    other = [
        key
        for key, said in submitted.items()
        if key in rows and said.get("execution_id") not in (None, str(rows[key]["id"]))
    ]
    verdict.lost += verdict.complain("I1", other, "jobs were answered with an execution that is not theirs")


def _quiet(
    verdict: Verdict,
    executions: Sequence[asyncpg.Record],
    steps: Sequence[asyncpg.Record],
    owed: Sequence[asyncpg.Record],
) -> None:
    """I1 and I4: everything is over and nothing is owed."""
    open_ones = [(str(row["id"]), row["status"]) for row in executions if row["status"] not in EXECUTION_OVER]
    verdict.stuck = verdict.complain("I1", open_ones, "executions are not over")
    live = [
        (str(row["execution_id"]), row["step"], row["shard"], row["status"], row["attempt"])
        for row in steps
        if row["status"] not in STEP_OVER and str(row["execution_id"]) not in {place for place, _ in open_ones}
    ]
    verdict.stuck += verdict.complain("I4", live, "steps of finished executions are not over")
    verdict.complain("I4", [dict(row) for row in owed], "messages are still owed")


def _moves(verdict: Verdict, moves: Sequence[asyncpg.Record]) -> None:
    """I2 and I3: every move is legal, attempts never go back, and nothing completes twice within an epoch."""
    verdict.complain("I2", [dict(move) for move in moves if not legal(move)], "illegal moves")
    last: dict[tuple[UUID, str, int], asyncpg.Record] = {}
    back: list[dict[str, Any]] = []
    completed: collections.Counter[tuple[UUID, int, str | None, int | None]] = collections.Counter()
    for move in moves:
        if move["status"] == "completed" and not move["rewritten"]:
            completed[move["execution_id"], move["epoch"], move["step"], move["shard"]] += 1
        if move["step"] is None:
            continue
        place = (move["execution_id"], move["step"], move["shard"])
        before = last.get(place)
        if before is not None and _goes_back(before, move):
            back.append(dict(move))
        last[place] = move
    verdict.complain("I2", back, "attempts that went back or were offered twice")
    verdict.attempts = sum(row["attempt"] - 1 for row in last.values())
    verdict.doubled = verdict.complain("I3", [key for key, n in completed.items() if n > 1], "steps completed twice")


def _goes_back(before: asyncpg.Record, move: asyncpg.Record) -> bool:
    if move["attempt"] < before["attempt"]:
        return True
    offered_again = move["status"] in ("dispatched", "waiting") and before["status"] in ("dispatched", "running")
    return offered_again and move["attempt"] == before["attempt"] and move["epoch"] == before["epoch"]


def _effects(verdict: Verdict, runs: Iterable[tuple[str, ...]], moves: Sequence[asyncpg.Record]) -> None:
    """I3 and I11: every completed task has run, nothing ran that was never offered; what ran twice is counted."""
    log = collections.Counter(tuple(run) for run in runs)
    verdict.repeated = sum(number - 1 for number in log.values())
    offered = {
        (str(m["execution_id"]), str(m["epoch"]), m["step"], str(m["shard"]), str(m["attempt"]))
        for m in moves
        if m["step"] is not None and m["status"] in ("dispatched", "running", "completed")
    }
    verdict.complain("I3", [run for run in log if run not in offered], "tasks ran that were never offered")


def _letters(verdict: Verdict, letters: Sequence[asyncpg.Record], expected: Mapping[str, int]) -> None:
    """I7: exactly the injected poison, each piece once; a publish that was repeated unconfirmed is one piece."""
    ids = collections.Counter(row["message_id"] for row in letters if row["message_id"])
    verdict.complain("I7", [name for name, number in ids.items() if number > 1], "messages are dead letters twice")
    pieces = {(row["kind"], row["reason"], row["queue"], row["body"], row["execution_id"]) for row in letters}
    verdict.dead.update(f"{kind}:{reason}" for kind, reason, *_ in pieces)
    if verdict.dead != collections.Counter(expected):
        verdict.problems.append(f"I7: dead letters {dict(verdict.dead)}, injected {dict(expected)}")


async def _references(
    verdict: Verdict,
    factory: factories.Factory,
    steps: Sequence[asyncpg.Record],
    delivered: Sequence[asyncpg.Record],
) -> None:
    """I3 and I5: each effective document is there, has its size and hash, and was made by the effective attempt."""
    wanted = [
        (row, refs.read(row["output"])) for row in steps if row["status"] == "completed" and row["output"] is not None
    ]
    handed = [(row, refs.read(row["ref"])) for row in delivered]
    gate = asyncio.Semaphore(16)
    async with objects.of(factory.settings) as store:

        async def read(row: asyncpg.Record, ref: refs.DataRef) -> str:
            async with gate:
                try:
                    document = json.loads(await store.get(ref))
                except (StageError, ValueError) as error:
                    return f"{row['execution_id']}/{row['step']}: {error}"
            attempt = row.get("attempt")
            if attempt is not None and document.get("attempt", attempt) != attempt:
                place = f"{row['execution_id']}/{row['step']}/{row['shard']}"
                return f"{place}: the document of attempt {document['attempt']} counts as that of {attempt}"
            return ""

        told = await asyncio.gather(*(read(row, ref) for row, ref in [*wanted, *handed]))
    verdict.complain("I5", [text for text in told if text], "references of effective results do not hold")
