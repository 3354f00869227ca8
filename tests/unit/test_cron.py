"""When a cron expression is due, on the wall clock of its time zone."""

import datetime

import pytest

from infra import cron


def moments(expression: str, timezone: str, after: str, number: int = 3) -> list[str]:
    found: list[str] = []
    moment = datetime.datetime.fromisoformat(after)
    for _ in range(number):
        due = cron.next_due(expression, timezone, moment)
        assert due is not None
        found.append(due.isoformat())
        moment = due
    return found


def test_the_next_moment_comes_after_the_given_one() -> None:
    assert moments("0 7 * * 1-5", "UTC", "2026-11-20T07:00:00+00:00") == [
        "2026-11-23T07:00:00+00:00",
        "2026-11-24T07:00:00+00:00",
        "2026-11-25T07:00:00+00:00",
    ]


def test_it_means_the_clock_on_the_wall() -> None:
    assert moments("30 8 1 * *", "Europe/Madrid", "2026-09-15T00:00:00+00:00") == [
        "2026-10-01T06:30:00+00:00",
        "2026-11-01T07:30:00+00:00",
        "2026-12-01T07:30:00+00:00",
    ]


def test_the_hour_that_is_skipped_in_spring_is_made_up_for() -> None:
    assert moments("30 2 * * *", "Europe/Madrid", "2026-03-28T12:00:00+00:00", 2) == [
        "2026-03-29T01:00:00+00:00",
        "2026-03-30T00:30:00+00:00",
    ]


def test_the_hour_that_comes_twice_in_autumn_counts_once() -> None:
    assert moments("30 2 * * *", "Europe/Madrid", "2026-10-24T12:00:00+00:00", 2) == [
        "2026-10-25T00:30:00+00:00",
        "2026-10-26T01:30:00+00:00",
    ]


def test_the_hours_around_a_change_are_all_there() -> None:
    found = moments("0 * * * *", "Europe/Madrid", "2026-10-24T23:30:00+00:00", 4)
    assert found == [f"2026-10-25T0{hour}:00:00+00:00" for hour in range(4)]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "give five fields"),
        ("* * * *", "give five fields"),
        ("0 0 7 * * *", "give five fields"),
        ("@daily", "give five fields"),
        ("61 * * * *", "Bad minute"),
        ("* * * * bees", "Bad day-of-week"),
        ("0 0 31 2 *", "Bad day-of-month"),
    ],
)
def test_a_wrong_expression_names_the_field_and_the_remedy(expression: str, said: str) -> None:
    with pytest.raises(cron.CronError, match=said) as raised:
        cron.next_due(expression, "UTC", datetime.datetime.now(datetime.UTC))
    assert f"field 'cron' is '{expression}'" in str(raised.value)


@pytest.mark.parametrize("name", ["", "Europe", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "a\0b"])
def test_a_wrong_time_zone_names_the_field_and_the_remedy(name: str) -> None:
    with pytest.raises(cron.CronError, match="field 'timezone' is") as raised:
        cron.next_due("0 7 * * *", name, datetime.datetime.now(datetime.UTC))
    assert "Europe/Madrid" in str(raised.value)
