"""For how long an answer of a web server is fresh, by what it says itself (RFC 9111)."""

import datetime
import email.utils
import re
from collections.abc import Mapping

LONGEST = 6 * 3600.0
"""Seconds: a server that says a year must not hide for a year what it publishes meanwhile."""

_DIRECTIVE = re.compile(r'([A-Za-z-]+)(?:\s*=\s*("[^"]*"|[^\s,"]*))?')


def lifetime(headers: Mapping[str, str], now: datetime.datetime) -> float:
    """Seconds for which an answer that came now needs no asking again, from 0 to six hours; names are in lower case.

    ``max-age`` goes before ``Expires`` (section 4.2.1), ``Age`` is taken off (4.2.3), and ``no-store`` and ``no-cache``
    (5.2.2) leave nothing. What cannot be read counts as stale. Nothing is guessed where the server says nothing (4.2.2
    would allow it): whoever asks sets a least interval.
    """
    directives = _directives(headers.get("cache-control", ""))
    if directives.keys() & {"no-store", "no-cache"}:
        return 0.0
    if "max-age" in directives:
        seconds = _seconds(directives["max-age"])
    elif "expires" in headers:
        seconds = _until(headers["expires"], _moment(headers.get("date", "")) or now)
    else:
        return 0.0
    return min(max(seconds - _seconds(headers.get("age", "")), 0.0), LONGEST)


def _directives(value: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _DIRECTIVE.finditer(value):
        found.setdefault(match[1].lower(), (match[2] or "").strip('"'))
    return found


def _seconds(value: str) -> float:
    value = value.strip()
    # More digits than these are more seconds than any bound here.
    return float(value[:12]) if value.isascii() and value.isdecimal() else 0.0


def _until(expires: str, since: datetime.datetime) -> float:
    moment = _moment(expires)
    return 0.0 if moment is None else (moment - since).total_seconds()


def _moment(value: str) -> datetime.datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError, IndexError):
        return None
    return moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment
