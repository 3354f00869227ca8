"""Dates of articles, from the many ways in which feeds write them."""

import datetime
import email.utils
import re
import time

EARLIEST = datetime.datetime(1990, 1, 1, tzinfo=datetime.UTC)
"""Nothing was published on the web before; what claims so is an empty value such as the start of 1970."""

AHEAD = datetime.timedelta(days=2)
"""How far ahead of now a date may be: time zones and wrong clocks, not announcements for next year."""

TEXT_LENGTH = 40
"""A date counts as that of an article if it stands in these first characters; further on it is part of the story."""

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january janvier januar enero ene gennaio gen janeiro januari",
            "feb february février fevrier fév februar febrero febbraio fevereiro fev februari",
            "mar march mars märz maerz mrz marzo março maart mrt",
            "apr april avril avr abril abr aprile",
            "may mai mayo maggio mag maio mei maj",
            "jun june juin juni junio giugno giu junho",
            "jul july juillet juil juli julio luglio lug julho",
            "aug august août aout agosto ago augustus augusti",
            "sep sept september septembre septiembre settembre set setembro",
            "oct october octobre oktober okt octubre ottobre ott outubro out",
            "nov november novembre noviembre novembro",
            "dec december décembre decembre déc dezember dez diciembre dic dicembre dezembro desember",
        ),
        start=1,
    )
    for name in names.split()
}
_DAY_FIRST = re.compile(r"\b(\d{1,2})\.? (?:de )?([^\W\d_]{3,10})\.?,? (?:de )?(\d{4})\b")
_MONTH_FIRST = re.compile(r"\b([^\W\d_]{3,10})\.? (\d{1,2})(?:st|nd|rd|th)?,? (\d{4})\b")
_ISO = re.compile(r"\b((?:19|20)\d\d)-(\d\d)-(\d\d)\b")
_IN_URL = re.compile(r"[/_-]((?:19|20)\d\d)[/_-]?(\d\d)[/_-]?(\d\d)(?:[/_-]|\b)")


def from_parsed(value: time.struct_time | None) -> datetime.datetime | None:
    """The moment of a parsed date, which is in UTC."""
    return _utc(*value[:6]) if value else None


def parse(value: str) -> datetime.datetime | None:
    """The moment that a date field names, in UTC unless it says otherwise; None if it cannot be read."""
    value = value.strip()[:100]
    try:
        return _aware(datetime.datetime.fromisoformat(value))
    except ValueError:
        pass  # most feeds use the dates of e-mail instead
    try:
        return _aware(email.utils.parsedate_to_datetime(value))
    except (ValueError, IndexError, OverflowError):
        return _written(value)


def in_text(title: str, text: str) -> datetime.datetime | None:
    """The day that a title or the very beginning of a text names."""
    for part in (title[:200], text[:TEXT_LENGTH]):
        moment = _written(part)
        if moment is not None:
            return moment
    return None


def in_url(address: str) -> datetime.datetime | None:
    """The day in an address such as ``/2025/04/17/title``."""
    match = _IN_URL.search(address[:2048])
    return _utc(*map(int, match.groups())) if match else None


def plausible(moment: datetime.datetime | None, now: datetime.datetime) -> bool:
    """Whether an article can have that date: neither before the web nor in the far future."""
    return moment is not None and EARLIEST <= moment <= now + AHEAD


def _written(value: str) -> datetime.datetime | None:
    if match := _ISO.search(value):
        return _utc(*map(int, match.groups()))
    lowered = value.lower()
    if match := _DAY_FIRST.search(lowered):
        day, month, year = match.groups()
    elif match := _MONTH_FIRST.search(lowered):
        month, day, year = match.groups()
    else:
        return None
    return _utc(int(year), _MONTHS[month], int(day)) if month in _MONTHS else None


def _utc(*numbers: int) -> datetime.datetime | None:
    try:
        year, month, day, hour, minute, second = (*numbers, *(0,) * (6 - len(numbers)))
        return datetime.datetime(year, month, day, hour, minute, min(second, 59), tzinfo=datetime.UTC)
    except (ValueError, OverflowError):
        return None


def _aware(moment: datetime.datetime) -> datetime.datetime:
    return moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment.astimezone(datetime.UTC)
