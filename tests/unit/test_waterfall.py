"""Steps over time: what is worked out of rows and timeline, and how it is drawn."""

import dataclasses
import datetime
from typing import Any
from uuid import UUID

import pytest

from contracts import refs
from contracts.states import ExecutionStatus, StepStatus
from contracts.tiers import Tier
from infra import views
from infra.timings import Cost, Repeat, ShardTimes, Times
from producer import waterfall
from producer.cli import waterfall as drawing
from producer.watching import Progress
from producer.waterfall import Known, Span
from tests.unit import looks

NOW = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)
ROOM = 40


DONE = dataclasses.replace(looks.STEP, status=StepStatus.COMPLETED)


def step(name: str, *after: str, **fields: Any) -> views.Step:
    return dataclasses.replace(DONE, step=name, depends_on=after, **fields)


def times(name: str, offered: float | None, finished: float | None, worked: float | None, **fields: Any) -> Times:
    """Of a short step: its start is that of the event which ended it."""
    made = Times(name, None, offered, finished, finished, worked)
    return dataclasses.replace(made, **fields)


def progress(*steps: views.Step, seconds: float = 10.0, status: str = "completed", client: str = "acme") -> Progress:
    started = NOW + datetime.timedelta(seconds=1)
    execution = views.Execution(
        UUID(int=7), client, Tier.PREMIUM, "daily", 3, ExecutionStatus(status), 5, NOW, started, None, "", seconds
    )
    return Progress(execution, list(steps), [])


def known(*told: Times, **fields: Any) -> Known:
    values: dict[str, Any] = {"shards": {}, "repeats": (), "costs": {}, **fields}
    return Known({one.step: one for one in told}, **values)


DIAMOND = (step("find"), step("left", "find"), step("right", "find"), step("tell", "left", "right"))
DIAMOND_TIMES = (
    times("find", 1.0, 3.0, 1.5),
    times("left", 3.0, 4.0, 0.5),
    times("right", 3.0, 8.0, 4.0),
    times("tell", 8.0, 10.0, 2.0),
)


def drawn(progress: Progress, found: Known, width: int = 100, **options: Any) -> list[str]:
    made = waterfall.made(progress, found)
    return [line.plain.rstrip() for line in drawing.lines(progress, made, width, **options)]


def test_a_short_step_began_when_its_worker_says_so() -> None:
    made = waterfall.made(progress(*DIAMOND), known(*DIAMOND_TIMES))
    find, left, right, tell = made.rows
    assert find.spans == [Span("waiting", 1.0, 1.5), Span("running", 1.5, 3.0)]
    assert (find.waited, find.ran, made.admitted, made.seconds) == (0.5, 1.5, 1.0, 10.0)
    assert [row.critical for row in (find, left, right, tell)] == [True, False, True, True]
    assert [row.level for row in (find, left, right, tell)] == [0, 1, 1, 2]


@pytest.mark.parametrize(("worked", "began"), [(1e300, 1.0), (-5.0, 3.0), (None, 2.5)])
def test_no_clock_of_a_worker_goes_beyond_offer_and_end(worked: float | None, began: float) -> None:
    told = times("find", 1.0, 3.0, worked, started=2.5)
    (row,) = waterfall.made(progress(step("find")), known(told)).rows
    assert row.spans == [Span("waiting", 1.0, began), Span("running", began, 3.0)]


def test_earlier_attempts_have_their_end_and_the_pause_that_followed() -> None:
    again = (Repeat("find", 3.0, 2.0), Repeat("find", 6.0, 0.0))
    told = times("find", 6.5, 9.0, 2.0)
    (row,) = waterfall.made(progress(step("find", attempt=3, retries=1)), known(told, repeats=again)).rows
    assert row.spans == [
        *(Span("earlier", 1.0, 3.0), Span("retry", 3.0, 5.0), Span("earlier", 5.0, 6.0), Span("retry", 6.0, 6.5)),
        *(Span("waiting", 6.5, 7.0), Span("running", 7.0, 9.0)),
    ]
    waiting = step("find", status=StepStatus.WAITING, attempt=2)
    (row,) = waterfall.made(progress(waiting, status="running"), known(told, repeats=again[:1])).rows
    assert row.spans == [Span("earlier", 1.0, 3.0), Span("retry", 3.0, 5.0)]


def test_what_was_cancelled_while_it_was_held_back_did_not_work_until_then() -> None:
    told = times("find", 1.0, 8.0, None, started=2.0)
    cancelled = step("find", status=StepStatus.CANCELLED, attempt=2, retries=1)
    held = known(told, repeats=(Repeat("find", 3.0, 60.0),))
    (row,) = waterfall.made(progress(cancelled, status="cancelled"), held).rows
    assert row.spans == [Span("earlier", 1.0, 3.0), Span("retry", 3.0, 8.0)]
    assert (row.ended, row.waited, row.ran) == (8.0, None, None)


def test_a_step_that_was_opened_again_shows_nothing_of_its_first_run() -> None:
    again = (Repeat("find", 2.0, 1.0), Repeat("find", 7.0, 0.5))
    told = times("find", 8.0, 9.0, 1.0, opened=6.0)
    (row,) = waterfall.made(progress(step("find", attempt=4)), known(told, repeats=again)).rows
    assert row.spans == [
        *(Span("earlier", 6.0, 7.0), Span("retry", 7.0, 7.5), Span("retry", 7.5, 8.0)),
        *(Span("waiting", 8.0, 8.0), Span("running", 8.0, 9.0)),
    ]


def test_what_runs_and_what_waits_reaches_until_now() -> None:
    going = times("find", 1.0, None, None, started=2.0)
    steps = (step("find", status=StepStatus.RUNNING), step("left", status=StepStatus.DISPATCHED), step("tell", "left"))
    pending = dataclasses.replace(steps[2], status=StepStatus.PENDING)
    made = waterfall.made(
        progress(steps[0], steps[1], pending, status="running"),
        known(going, times("left", 4.0, None, None), times("tell", None, None, None)),
    )
    find, left, tell = made.rows
    assert find.spans == [Span("waiting", 1.0, 2.0), Span("running", 2.0, 10.0)]
    assert left.spans == [Span("waiting", 4.0, 10.0)]
    assert (tell.spans, tell.began, tell.critical) == ([], None, False)


def shard(number: int, offered: float, began: float, ended: float, status: str = "completed") -> ShardTimes:
    return ShardTimes(number, StepStatus(status), 1, "worker-1", offered, ended, ended, ended - began, None)


SHARDS = [shard(1, 3, 3, 4), shard(2, 3, 3.5, 5), shard(3, 3, 6, 9, "failed"), shard(4, 3, 8, 9)]
FAN = step(
    "read", "find", fanned_out=True, shards=views.Shards(total=4, done=4, failed=1, running=0, retries=2), stage="fetch"
)


def test_shards_are_one_row_with_the_slowest_of_them() -> None:
    found = known(times("find", 1.0, 3.0, 1.5), times("read", None, 9.2, None), shards={"read": SHARDS})
    row = waterfall.made(progress(step("find"), FAN), found).rows[1]
    assert [span for span in row.spans if span.kind == "running"] == [Span("running", 3, 5), Span("running", 6, 9)]
    assert (row.began, row.ended, row.waited, row.ran, row.retries) == (3, 9.2, 0, 6, 2)
    assert row.fan is not None
    assert (row.fan.first_began, row.fan.last_ended, row.fan.median) == (3, 9, 1.5)
    assert [(slow.shard, slow.seconds) for slow in row.fan.slowest] == [(3, 3), (2, 1.5), (1, 1)]


@pytest.mark.parametrize("status", [StepStatus.WAITING, StepStatus.CANCELLED])
def test_a_shard_that_is_held_back_is_not_at_work(status: StepStatus) -> None:
    finished = 9.5 if status is StepStatus.CANCELLED else None
    held = ShardTimes(5, status, 2, None, 3.0, 4.0, finished, None, 6.0)
    found = known(times("find", 1.0, 3.0, 1.5), times("read", None, None, None), shards={"read": [*SHARDS, held]})
    running = dataclasses.replace(FAN, status=StepStatus.RUNNING)
    row = waterfall.made(progress(step("find"), running, status="running"), found).rows[1]
    assert [span for span in row.spans if span.kind == "running"] == [Span("running", 3, 5), Span("running", 6, 9)]
    assert [span for span in row.spans if span.kind == "earlier"] == [Span("earlier", 3.0, 6.0)]
    assert row.fan is not None
    assert row.fan.median == 1.5
    assert [slow.shard for slow in row.fan.slowest] == [3, 2, 1]


def test_a_fan_out_ends_with_the_last_of_its_shards_whichever_began_last() -> None:
    going = dataclasses.replace(shard(1, 3, 3, 4), finished=None, worked=None, started=3.5)
    late = dataclasses.replace(shard(2, 8, 8.5, 9))
    found = known(times("find", 1.0, 3.0, 1.5), times("read", None, None, None), shards={"read": [going, late]})
    running = dataclasses.replace(FAN, status=StepStatus.RUNNING)
    row = waterfall.made(progress(step("find"), running, status="running"), found).rows[1]
    assert (row.began, row.ended) == (3, 10.0)


def test_figures_of_a_part_of_the_shards_say_so() -> None:
    found = known(times("find", 1.0, 3.0, 1.5), times("read", None, 9.2, None), shards={"read": SHARDS})
    many = dataclasses.replace(FAN, shards=views.Shards(total=12_000, done=4, failed=1, running=0, retries=2))
    assert "      of the first 4: shards from 3.0 s to 9.0 s" in "\n".join(drawn(progress(step("find"), many), found))


@pytest.mark.parametrize(("seconds", "took"), [(5_000.0, "58 min 20 s"), (400_000.0, "110 h 41 min")])
def test_bars_stand_below_each_other_however_late_they_begin(seconds: float, took: str) -> None:
    found = known(times("find", 1.0, 1500.0, 3.0), times("tell", 1500.0, seconds, 2.0))
    one = progress(step("find"), step("tell", "find", attempt=2), seconds=seconds)
    titles, slot, find, tell = (drawn(one, found, 80)[number] for number in (1, 2, 3, 5))
    place = slot.index("░")
    assert tell[:place].endswith(f"  25 min 00 s {took:>12} ")
    assert find[:place].endswith("        1.0 s  24 min 59 s ")
    assert titles[:place].endswith(" took ")
    assert find[place] == ("░" if seconds == 5_000.0 else "█")
    assert max(len(line) for line in (titles, find, tell)) <= 80


@pytest.mark.parametrize(
    ("spans", "bar"),
    [
        ([Span("waiting", 0, 5), Span("running", 5, 10)], "░░░░░█████"),
        ([Span("running", 9.99, 10)], "         █"),
        ([Span("running", 0, 0.001), Span("waiting", 0.001, 4)], "█░░░"),
        ([Span("earlier", 0, 3), Span("retry", 3, 6), Span("waiting", 6, 7), Span("running", 7, 10)], "▒▒▒···░███"),
        ([], ""),
    ],
)
def test_each_stretch_is_seen_however_short(spans: list[Span], bar: str) -> None:
    assert drawing.drawn(spans, 10.0, 10) == bar
    assert drawing.drawn([Span("running", 0.0, 0.0)], 0.0, 10) == "█"


REPORT = refs.DataRef(uri="s3://factory/acme/2024-05-01/7/tell/0-1-ab.json.zst", sha256="0" * 64, size=12_345)


def test_the_whole_drawing() -> None:
    steps = (
        step("find", summary={"found": 4}, output=refs.inline(b"{}")),
        FAN,
        step("tell", "read", attempt=2, retries=1, output=REPORT),
    )
    found = known(
        *(times("find", 1.0, 3.0, 1.5), times("read", None, 9.0, None), times("tell", 9.6, 10.0, 0.3)),
        shards={"read": SHARDS},
        repeats=(Repeat("tell", 9.2, 0.4),),
        costs={"tell": Cost("tell", 20_000, 10_000, 2)},
    )
    assert drawn(progress(*steps), found) == [
        "daily v3 for acme (premium)  completed  10.0 s  $0.02  00000000-0000-0000-0000-000000000007",
        "  step                 status     tries         from         took 0 s                         10.0 s",
        "  (waits for a slot)                           0.0 s        1.0 s ░░░",
        "* find                 completed      1        1.0 s        2.0 s    ░░█████",
        "    work, waited 0.5 s, ran 1.5 s, found 4, 2 B inline",
        "*   read               completed      1        3.0 s        6.0 s           ███████░░░███████████",
        "      fetch, after find, waited 0.0 s, ran 6.0 s, 4/4, 1 failed, 2 retries",
        "      shards from 3.0 s to 9.0 s half in 1.5 s each, slowest #3 3.0 s failed, #2 1.5 s, #1 1.0 s",
        "*     tell             completed      2        9.0 s        1.0 s                               ▒·██",
        "        work, after read, waited 0.1 s, ran 0.3 s, $0.02 in 2 calls, $0.01 reserved, 1 retry, 12 kB",
        "        in …/0-1-ab.json.zst",
        drawing.LEGEND,
        "completed after 10.0 s",
    ]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    names = [step("a_step_with_a_very_long_name_indeed" * 2), *DIAMOND]
    told = known(times(names[0].step, 1.0, 3.0, 1.5), *DIAMOND_TIMES)
    lines = drawn(progress(*names), told, width)
    assert max(len(line) for line in lines[1:] if line != drawing.LEGEND) <= max(width, 80)


def test_addresses_are_whole_where_they_are_asked_for() -> None:
    one = progress(step("tell", output=REPORT))
    assert REPORT.uri not in "\n".join(drawn(one, known(times("tell", 1.0, 2.0, 1.0))))
    assert REPORT.uri in "\n".join(drawn(one, known(times("tell", 1.0, 2.0, 1.0)), refs=True, fold=False))


def test_what_others_wrote_has_no_power_over_the_terminal() -> None:
    evil = "[red]\x1b[2J\x07\u202eno"
    failed = step("find", status=StepStatus.FAILED, error_class="permanent", error=evil, note=evil)
    text = "\n".join(drawn(progress(failed, client=evil), known(times("find", 1.0, 3.0, 1.0)), 200))
    assert text.isprintable() or all(character.isprintable() or character == "\n" for character in text)
    assert text.count("[red]\\x1b[2J\\x07\\u202eno") == 2
