"""What a look at the factory means, and how it is drawn."""

import dataclasses
import datetime
from typing import Any

import pytest

from infra import overview
from infra.pauses import Pause
from producer import troubles
from producer.cli import output, panes
from producer.overview import Snapshot
from tests.unit import look
from tests.unit.look import BUSY, EVIL_LOOK, NOW


def grave(snapshot: Snapshot) -> list[str]:
    return [trouble.text for trouble in troubles.troubles(snapshot) if trouble.grave]


def test_a_factory_where_all_is_taken_up_is_healthy() -> None:
    assert troubles.troubles(look.snapshot()) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"away": {"database": "refused"}}, "the database does not answer: refused"),
        ({"queues": look.queues(consumers=0, depth=3, oldest=7.0), "workers": []}, "no worker takes fetch"),
        ({"queues": look.queues(oldest=200.0, depth=3)}, "fetch is behind: its oldest task waits"),
        ({"queues": look.queues(depth=None)}, "queue stage.fetch.basic is missing: run 'factory migrate'"),
        ({"stuck": 1}, "1 execution will not move: nothing is on its way"),
        ({"owed": 5, "owed_seconds": 90.0}, "5 messages of the coordinator cannot be published"),
        ({"ended": overview.Ended(0, 0, 10, 5)}, "5 of 10 steps failed in the last 60 s"),
        ({"letters": BUSY.work.letters if BUSY.work else ()}, "2 dead letters for a person to judge, the oldest there"),
        (
            {"workers": [dataclasses.replace(look.WORKER, silent=40.0)]},
            "worker vm-1-ab is silent, its tasks go to others",
        ),
    ],
)
def test_each_trouble_is_told_in_words(changed: dict[str, Any], said: str) -> None:
    assert grave(look.snapshot(**changed)) == [said]


@pytest.mark.parametrize(
    "changed",
    [
        {"queues": look.queues(consumers=0), "workers": []},
        # Its worker is busy with slow tasks, and no consumer meanwhile.
        {"queues": look.queues(consumers=0, depth=3, oldest=7.0)},
        {"queues": look.queues(depth=3, oldest=20.0)},
        {
            "queues": look.queues(consumers=0, depth=3, oldest=900.0),
            "workers": [],
            "pauses": [Pause("stage", "fetch", "ann", "", NOW)],
        },
        {"ended": overview.Ended(0, 0, 3, 3)},
        {"letters": [overview.Letters("failed", "", "fetch", 2, 9000.0, 4000.0)]},
        {"workers": [dataclasses.replace(look.WORKER, silent=400.0)]},
        {"workers": [dataclasses.replace(look.WORKER, silent=40.0, in_flight=0)]},
        {"owed": 3, "owed_seconds": 1.0},
    ],
)
def test_what_mends_itself_or_is_meant_so_is_no_trouble(changed: dict[str, Any]) -> None:
    assert grave(look.snapshot(**changed)) == []


def test_without_a_coordinator_there_is_one_trouble() -> None:
    rows = [dataclasses.replace(row, consumers=0) if row.stage is None else row for row in look.queues()]
    assert grave(look.snapshot(queues=rows)) == ["no coordinator works: jobs and events wait for one"]


def test_a_trouble_lasts_from_its_first_sight_or_for_as_long_as_a_server_says() -> None:
    later = NOW + datetime.timedelta(seconds=30)
    away, behind = troubles.Trouble("broker", "x"), troubles.Trouble("late", "y", 200.0)
    first = troubles.seen({}, [away, behind], NOW)
    assert first == {"broker": NOW, "late": NOW - datetime.timedelta(seconds=200)}
    assert troubles.seen(first, [away], later) == {"broker": NOW}
    assert troubles.seen({}, [away], later) == {"broker": later}


def test_an_age_that_a_server_tells_is_shown_as_it_is_now() -> None:
    later = NOW + datetime.timedelta(seconds=30)
    first = troubles.seen({}, [troubles.Trouble("late", "y", 200.0)], NOW)
    assert troubles.seen(first, [troubles.Trouble("late", "y", 5.0)], later) == {
        "late": later - datetime.timedelta(seconds=5)
    }
    least = troubles.Trouble("stuck", "z", 300.0, least=True)
    first = troubles.seen({}, [least], NOW)
    assert troubles.seen(first, [least], later) == first == {"stuck": NOW - datetime.timedelta(seconds=300)}


def test_a_pause_is_as_old_as_its_record() -> None:
    at = NOW - datetime.timedelta(minutes=3)
    both = [Pause("stage", "fetch", "ann", "", at), Pause("client", "fetch", "bob", "", NOW)]
    found = look.snapshot(pauses=both)
    assert [line.plain for line in panes.head(found, troubles.troubles(found), {})][1:3] == [
        " - stage fetch is paused by ann, for 3 min 00 s",
        " - client fetch is paused by bob",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (-1, "0s"), (41.2, "41s"), (250, "4m10"), (7500, "2h05"), (400_000, "4d")]
)
def test_short_durations(seconds: float | None, text: str) -> None:
    assert panes.short(seconds) == text


def drawn(snapshot: Snapshot, width: int) -> list[str]:
    found = troubles.troubles(snapshot)
    lines = [line.plain.rstrip() for line in panes.head(snapshot, found, {}, most=10)]
    for pane in panes.panes(snapshot, width):
        lines += ["", *(line.plain.rstrip() for line in panes.table(pane, width))]
    return lines


def test_the_whole_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = f"{NOW.astimezone():%H:%M:%S}"
    assert drawn(BUSY, 80) == [
        f" WRONG   2 troubles   {clock}",
        " ! fetch is behind: its oldest task waits, for 4 min 10 s",
        " ! 2 dead letters for a person to judge, the oldest there, for 2 h 00 min",
        " - stage build is paused by ann (new model)",
        " executions  enterprise     premium    standard       basic   longest wait",
        " queued               ·           ·           ·          12   41s (basic)",
        " running              ·           1           ·           3",
        " paused               ·           ·           ·           ·",
        " last minute  6 executions ended, !1 failed   40 steps ended, !2 failed",
        "",
        "executions  1 running, 1 paused, the slowest first",
        "  took  client  template  status             steps  now at",
        "  2m05  acme    daily     running            3/6    fetch 12/40 (half way)",
        "  2m05  bee     daily     paused (operator)  3/6",
        "",
        "stages  12 tasks wait, 3 with workers, !fetch",
        "  stage           enterprise  premium  standard  basic       taken by",
        "  fetch           ·           ·        ·         !12+3 4m10  2",
        "  build (paused)  ·           ·        ·         ·           2",
        "  jobs            ·           ·        ·         ·           2",
        "",
        "workers  1 known, 3 of 8 slots in use",
        "  worker   slots  heard  stages",
        "  vm-1-ab  3/8    alive  fetch, build",
        "",
        "dead letters  !2 open, the oldest 2h00",
        "  letters  reason  class      where  newest  oldest",
        "  2        failed  permanent  fetch  90s     2h00",
    ]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_panes_fit_their_width(width: int) -> None:
    for pane in (*panes.panes(BUSY, width), *panes.panes(EVIL_LOOK, width)):
        assert all(line.cell_len <= width for line in panes.table(pane, width))


def test_what_others_wrote_has_no_power_over_the_terminal() -> None:
    lines = drawn(EVIL_LOOK, 400)
    assert all(line.isprintable() for line in lines)
    assert sum(line.count("[red]\\x1b[2J\\x07\\u202eno[/red]") for line in lines) >= 10


def test_nothing_is_drawn_of_what_is_not_known() -> None:
    unknown = Snapshot(NOW, None, None, {"database": "refused", "broker": "gone"})
    lines = drawn(unknown, 80)
    assert lines[1:3] == [" ! the database does not answer: refused", " ! the broker does not answer: gone"]
    assert "  no queue is known" in lines


def test_a_filter_keeps_rows_that_hold_all_words() -> None:
    (executions, *_) = panes.panes(BUSY, 200)
    assert [row.key for row in executions.filtered("DAILY operator").rows] == [str(look.IDS[1])]
    assert executions.filtered("").rows == executions.rows


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [b]text[/b] ü 漢", "plain [b]text[/b] ü 漢"),
        ("a\x1b]0;title\x07b", "a\\x1b]0;title\\x07b"),
        ("a\nb\r\x9bc", "a\\nb\\r\\x9bc"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
    ],
)
def test_text_is_shown_and_not_obeyed(text: str, shown: str) -> None:
    assert output.safe(text) == shown
    assert output.text(text).plain == shown
    assert output.safe("a\nb\x1b", keep="\n") == "a\nb\\x1b"
