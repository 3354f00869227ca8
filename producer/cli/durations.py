"""Durations as people write them: a number with a unit."""

import re

import typer

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse(text: str, option: str) -> float:
    """Seconds of 90s, 30m, 12h or 7d."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    if found is None:
        raise typer.BadParameter(
            f"'{text}' is no duration; give a number with s, m, h or d, such as 12h", param_hint=option
        )
    return float(int(found[1]) * _UNITS[found[2]])
