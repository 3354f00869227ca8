"""Failpoints: what they do, what they cost nothing to leave in, and that no publish, commit, put or ack lacks them."""

import ast
import dataclasses
import functools
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import failpoints, settings
from infra.failpoints import Action, Armed, Failpoint

ROOT = Path(__file__).parents[2]
LAYERS = ("contracts", "infra", "consumers", "producer")
GUARDED_PARTS = ("consumers/coordinator", "consumers/runtime", "consumers/coordinator_process.py")

SETTLING = frozenset({"publish", "publish_all", "put", "ack", "reject", "give_back"})
"""Methods that tell the broker or the object store something that cannot be taken back."""

UNGUARDED = {
    "consumers/coordinator/transitions.py: republish": "its transaction only reads, under locks",
    "consumers/coordinator/manifests.py: prepare": "its transaction only reads, under locks",
    "consumers/coordinator/requeueing.py: _attempt": "a savepoint; the transaction around it commits",
}

Block = list[ast.stmt]


@dataclasses.dataclass(frozen=True)
class Site:
    """A call that needs a failpoint on both sides, and the blocks around it with its place in each."""

    call: ast.Call
    around: tuple[tuple[Block, int], ...]


def is_reach(node: ast.AST) -> bool:
    call = node.value if isinstance(node, ast.Expr) else node
    return isinstance(call, ast.Call) and ast.unparse(call.func) == "failpoints.reach"


def blocks(statement: ast.stmt) -> Iterator[Block]:
    """The blocks of a compound statement; functions inside it are looked at on their own."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    for field in ("body", "orelse", "finalbody"):
        yield from [found] if (found := getattr(statement, field, None)) else []
    for inner in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield inner.body


def own_calls(statement: ast.stmt) -> Iterator[ast.Call]:
    """The calls in a statement that stand in none of its blocks."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    inner = {id(node) for block in blocks(statement) for child in block for node in ast.walk(child)}
    yield from (node for node in ast.walk(statement) if isinstance(node, ast.Call) and id(node) not in inner)


def sites(block: Block, around: tuple[tuple[Block, int], ...] = ()) -> Iterator[Site]:
    for index, statement in enumerate(block):
        here = (*around, (block, index))
        for call in own_calls(statement):
            if isinstance(call.func, ast.Attribute) and call.func.attr in SETTLING:
                yield Site(call, here)
        for inner in blocks(statement):
            yield from sites(inner, here)


def transactions(block: Block) -> Iterator[tuple[ast.AsyncWith, ast.stmt | None]]:
    """Each transaction with the statement that follows it."""
    for statement, follower in zip(block, [*block[1:], None], strict=True):
        if isinstance(statement, ast.AsyncWith) and any(
            ast.unparse(item.context_expr).endswith(".transaction()") for item in statement.items
        ):
            yield statement, follower
        for inner in blocks(statement):
            yield from transactions(inner)


def reached(site: Site) -> tuple[list[int], list[int]]:
    """The lines of the failpoints that surely are reached before and after a call, as far as the blocks tell."""
    before = [s.lineno for block, index in site.around for s in block[:index] if is_reach(s)]
    after = [s.lineno for block, index in site.around for s in block[index + 1 :] if is_reach(s)]
    return before, after


def unguarded(source: str) -> Iterator[tuple[str, str]]:
    """The functions with a call or a commit that lacks a failpoint on one side, and which it is."""
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        found = list(sites(function.body))
        lines = [site.call.lineno for site in found]
        for site in found:
            before, after = reached(site)
            others = [line for line in lines if line != site.call.lineno]
            name = f"line {site.call.lineno}, {ast.unparse(site.call.func)}"
            if not before or any(max(before) < line < site.call.lineno for line in others):
                yield function.name, f"{name}: no failpoint before it"
            if not after or any(site.call.lineno < line < min(after) for line in others):
                yield function.name, f"{name}: no failpoint after it"
        for transaction, follower in transactions(function.body):
            name = f"line {transaction.lineno}, transaction"
            if not is_reach(transaction.body[-1]):
                yield function.name, f"{name}: its last statement is no failpoint, before the commit"
            if follower is None or not is_reach(follower):
                yield function.name, f"{name}: no failpoint follows it, after the commit"
            if any(isinstance(node, ast.Return) for node in ast.walk(transaction)):
                yield function.name, f"{name}: a return inside commits without passing a failpoint"


def guarded_files() -> list[Path]:
    parts = [ROOT / part for part in GUARDED_PARTS]
    return [path for part in parts for path in (sorted(part.rglob("*.py")) if part.is_dir() else [part])]


@pytest.mark.parametrize("path", guarded_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_publish_commit_put_and_ack_has_a_failpoint_on_both_sides(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    wrong = [f"{place}: {name}: {what}" for name, what in unguarded(path.read_text(encoding="utf-8"))]
    wrong = [line for line in wrong if not any(line.startswith(f"{known}:") for known in UNGUARDED)]
    assert not wrong, "\n".join([*wrong, "add members to infra.failpoints.Failpoint and reach them there"])


def test_what_is_left_unguarded_is_still_there() -> None:
    found = {
        f"{path.relative_to(ROOT).as_posix()}: {name}"
        for path in guarded_files()
        for name, _ in unguarded(path.read_text(encoding="utf-8"))
    }
    assert found == set(UNGUARDED)


@pytest.mark.parametrize(
    ("body", "complaints"),
    [
        ("await publisher.publish()", 2),
        ("failpoints.reach(A)\nawait publisher.publish()", 1),
        ("failpoints.reach(A)\nawait publisher.publish()\nfailpoints.reach(B)", 0),
        ("failpoints.reach(A)\nreturn await store.put()", 1),
        ("failpoints.reach(A)\nawait delivery.ack()\nawait delivery.ack()\nfailpoints.reach(B)", 2),
        ("if wanted:\n    failpoints.reach(A)\nelse:\n    await delivery.reject()\nfailpoints.reach(B)", 1),
        ("failpoints.reach(A)\nfor d in batch:\n    await d.give_back()\nfailpoints.reach(B)", 0),
        ("failpoints.reach(A)\nawait gather(*(p.publish(x) for x in y))\nfailpoints.reach(B)", 0),
        ("failpoints.reach(A)\ntry:\n    await p.publish()\nexcept E:\n    return\nfailpoints.reach(B)", 0),
        ("async with c.transaction():\n    await write()\n    failpoints.reach(A)\nfailpoints.reach(B)", 0),
        ("async with c.transaction():\n    await write()\nfailpoints.reach(B)", 1),
        ("async with pool.acquire() as c, c.transaction():\n    return await write()", 3),
    ],
)
def test_the_search_finds_what_lacks_a_failpoint(body: str, complaints: int) -> None:
    found = list(unguarded("async def work():\n" + textwrap.indent(body, "    ")))
    assert len(found) == complaints, found


@functools.cache
def uses() -> Counter[str]:
    """How often the source reaches each point."""
    found: Counter[str] = Counter()
    for path in sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and is_reach(node):
                found[ast.unparse(node.args[0])] += 1
    return found


def test_every_point_is_reached_at_exactly_one_line() -> None:
    assert uses() == Counter(f"Failpoint.{point.name}" for point in Failpoint)


def test_a_specification_says_what_happens_where_and_when() -> None:
    assert failpoints.parse("task_acking:kill:3, events_published:delay=0.5,task_acked:raise") == {
        Armed(Failpoint.TASK_ACKING, Action.KILL, 3),
        Armed(Failpoint.EVENTS_PUBLISHED, Action.DELAY, 1, 0.5),
        Armed(Failpoint.TASK_ACKED, Action.RAISE),
    }


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("nowhere:kill", "'nowhere' is no failpoint; choose one of publish_sent, "),
        ("task_acking:explode", "'explode' is no action; choose one of kill, stop, raise, delay"),
        ("task_acking", "'task_acking' is not name:action:nth"),
        ("task_acking:kill:0", "is not name:action:nth"),
        ("task_acking:kill=2", "only delay takes them"),
        ("task_acking:kill,task_acking:stop", "a point is armed twice"),
    ],
)
def test_a_wrong_specification_is_refused_at_the_start(value: str, words: str) -> None:
    with pytest.raises(settings.SettingsError, match="FACTORY_FAILPOINT=") as refused:
        settings.load(
            {
                "FACTORY_AMQP_URL": "amqp://127.0.0.1/",
                "FACTORY_DATABASE_URL": "postgresql://127.0.0.1/x",
                "FACTORY_WORKER_DATABASE_URL": "postgresql://127.0.0.1/x",
                "FACTORY_S3_ENDPOINT": "http://127.0.0.1:9000",
                "FACTORY_S3_ACCESS_KEY": "key",
                "FACTORY_S3_SECRET_KEY": "key",
                "FACTORY_FAILPOINT": value,
            }
        )
    assert words in str(refused.value)


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm(())


@pytest.mark.usefixtures("disarmed")
def test_an_action_happens_at_the_nth_time_and_once() -> None:
    failpoints.arm(failpoints.parse("task_acking:raise:3"))
    for _ in range(2):
        failpoints.reach(Failpoint.TASK_ACKING)
        failpoints.reach(Failpoint.TASK_ACKED)
    with pytest.raises(failpoints.FailpointError, match="task_acking"):
        failpoints.reach(Failpoint.TASK_ACKING)
    failpoints.reach(Failpoint.TASK_ACKING)
    assert not failpoints.armed(Failpoint.TASK_ACKING)


@pytest.mark.usefixtures("disarmed")
def test_a_process_says_what_it_is_armed_with_and_what_it_reaches(caplog: pytest.LogCaptureFixture) -> None:
    failpoints.arm(failpoints.parse("task_acking:delay=0"))
    failpoints.reach(Failpoint.TASK_ACKING)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert caplog.messages == [
        "failpoint task_acking is armed to delay at its time 1",
        "failpoint task_acking was reached: delay",
    ]


@pytest.mark.usefixtures("disarmed")
def test_what_it_raises_is_never_taken_for_an_ordinary_failure() -> None:
    failpoints.arm(failpoints.parse("stage_ran:raise"))
    with pytest.raises(failpoints.FailpointError) as raised:
        failpoints.reach(Failpoint.STAGE_RAN)
    assert not isinstance(raised.value, Exception)


@pytest.mark.usefixtures("disarmed")
def test_a_delay_freezes_whoever_reaches_it() -> None:
    failpoints.arm(failpoints.parse("task_acking:delay=0.05"))
    began = time.monotonic()
    failpoints.reach(Failpoint.TASK_ACKING)
    assert time.monotonic() - began >= 0.05


REACH = "from infra import failpoints as f; f.arm(f.parse({spec!r})); f.reach(f.Failpoint.TASK_ACKING); print('alive')"


def _process(spec: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", REACH.format(spec=spec)], cwd=ROOT, stdout=subprocess.PIPE)


def test_kill_ends_the_process_at_the_line() -> None:
    with _process("task_acking:kill") as process:
        output, _ = process.communicate()
    assert (process.returncode, output) == (-signal.SIGKILL, b"")


def test_stop_freezes_the_process_until_it_is_continued() -> None:
    with _process("task_acking:stop") as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate()
    assert os.WIFSTOPPED(status)
    assert (process.returncode, output) == (0, b"alive\n")
