"""Charts as plain geometry, which a page draws as inline SVG."""

from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 100.0, 30.0
_GAP = 0.18
_LEAST = 0.6
"""A count above zero is drawn at least so high, so that it does not look like none."""


class Bar(NamedTuple):
    """A bar with what it stands for."""

    x: float
    y: float
    width: float
    height: float
    label: str
    value: int


class Bars(NamedTuple):
    """Bars side by side in a box of ``WIDTH`` by ``HEIGHT``; the highest one touches its top."""

    bars: tuple[Bar, ...]
    most: int


def bars(values: Sequence[int], labels: Sequence[str]) -> Bars:
    """A bar for each value, in order."""
    most = max(values, default=0)
    step = WIDTH / max(1, len(values))
    found = []
    for index, (value, label) in enumerate(zip(values, labels, strict=True)):
        height = max(_LEAST, HEIGHT * value / most) if value else 0.0
        x = step * index + step * _GAP / 2
        found.append(
            Bar(round(x, 2), round(HEIGHT - height, 2), round(step * (1 - _GAP), 2), round(height, 2), label, value)
        )
    return Bars(tuple(found), most)
