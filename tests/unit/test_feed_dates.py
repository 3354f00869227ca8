"""Dates of articles, from fields, addresses and texts."""

import datetime

import pytest

from consumers.stages.feeds import dates


def utc(*numbers: int) -> datetime.datetime:
    year, month, day, hour, minute = (*numbers, 0, 0)[:5]
    return datetime.datetime(year, month, day, hour, minute, tzinfo=datetime.UTC)


NOW = utc(2025, 6, 1)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2025-04-17T10:30:00Z", utc(2025, 4, 17, 10, 30)),
        ("2025-04-17T10:30:00+02:00", utc(2025, 4, 17, 8, 30)),
        ("2025-04-17", utc(2025, 4, 17)),
        ("Thu, 17 Apr 2025 10:30:00 -0500", utc(2025, 4, 17, 15, 30)),
        ("mer, 16 nov 2022 00:38:00 +0100", utc(2022, 11, 15, 23, 38)),
        ("17. März 2025", utc(2025, 3, 17)),
        ("3 de mayo de 2025", utc(2025, 5, 3)),
        ("April 17th, 2025", utc(2025, 4, 17)),
        ("null", None),
        ("31 February 2025", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_date_fields_are_read_in_many_ways(value: str, moment: datetime.datetime | None) -> None:
    assert dates.parse(value) == moment


@pytest.mark.parametrize(
    ("address", "moment"),
    [
        ("https://a.example/2025/04/17/title", utc(2025, 4, 17)),
        ("https://a.example/news/2025-04-17-title", utc(2025, 4, 17)),
        ("https://a.example/p/20250417", utc(2025, 4, 17)),
        ("https://a.example/2025/13/40/title", None),
        ("https://a.example/1234567890", None),
        ("https://a.example/2025/04/title", None),
    ],
)
def test_an_address_may_carry_the_day(address: str, moment: datetime.datetime | None) -> None:
    assert dates.in_url(address) == moment


def test_only_the_beginning_of_a_text_dates_an_article() -> None:
    assert dates.in_text("Notes of 2025-04-17", "") == utc(2025, 4, 17)
    assert dates.in_text("Notes", "Halden, 17 April 2025. The council met.") == utc(2025, 4, 17)
    assert dates.in_text("Notes", "The treaty that was signed in the capital on 17 April 1955 still holds.") is None


@pytest.mark.parametrize(
    ("moment", "plausible"),
    [
        (utc(2025, 5, 31), True),
        (utc(2025, 6, 2), True),
        (utc(2025, 6, 10), False),
        (utc(2099, 1, 1), False),
        (utc(1970, 1, 1), False),
        (None, False),
    ],
)
def test_dates_in_the_far_future_or_before_the_web_are_not_believed(
    moment: datetime.datetime | None, plausible: bool
) -> None:
    assert dates.plausible(moment, NOW) is plausible
