"""Moments as people write them: an age, such as 12h, or a date and time."""

import datetime
import re

import typer

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse(text: str, now: datetime.datetime, option: str) -> datetime.datetime:
    """The moment that is meant, seen from ``now``; one without a time zone is in the reader's."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    try:
        if found is not None:
            return now - datetime.timedelta(seconds=int(found[1]) * _UNITS[found[2]])
        return datetime.datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"'{text}' is no moment; give an age such as 30m, 12h or 7d, or a date such as 2026-05-01T08:00",
            param_hint=option,
        ) from error
