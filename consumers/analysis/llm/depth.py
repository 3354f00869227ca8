"""How far each quality level goes."""

from typing import NamedTuple

from contracts.tiers import Quality


class Depth(NamedTuple):
    """What models are asked for: of texts whose local relevance lies between ``low`` and ``high``, at most ``judged``,
    those nearest to the cut first; and whether they tell the stories."""

    low: float
    high: float
    judged: int
    tells: bool


CUT = 0.5
"""The local engine's relevance at its own cut."""

DEPTHS = {
    Quality.STANDARD: Depth(low=0.30, high=0.75, judged=200, tells=False),
    Quality.HIGH: Depth(low=0.15, high=0.90, judged=1000, tells=True),
}
"""Basic asks no model at all."""
