"""Weighted round robin over the tiers: a fair order in which to serve them, whoever has more work waiting."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from contracts.tiers import WEIGHTS, Tier

T = TypeVar("T")


class Wheel:
    """Smooth weighted round robin: turns are spread evenly, and a tier without work saves none up."""

    def __init__(self, weights: Mapping[Tier, int] = WEIGHTS) -> None:
        self._weights = dict(weights)
        self._credit = dict.fromkeys(self._weights, 0)

    def order(self) -> list[Tier]:
        """The tiers in the order in which they are due."""
        return sorted(self._weights, key=lambda tier: -(self._credit[tier] + self._weights[tier]))

    def serve(self, tier: Tier, waiting: Iterable[Tier]) -> None:
        """Counts a turn of ``tier``, taken while those tiers, itself included, had work."""
        competing = set(waiting) | {tier}
        for other, weight in self._weights.items():
            self._credit[other] = self._credit[other] + weight if other in competing else 0
        self._credit[tier] -= sum(self._weights[other] for other in competing)


class TierBuffer(Generic[T]):
    """Items by tier, taken in weighted round robin."""

    def __init__(self) -> None:
        self._wheel = Wheel()
        self._lines: dict[Tier, deque[T]] = {tier: deque() for tier in Tier}

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def add(self, tier: Tier, item: T) -> None:
        """Puts an item at the end of its tier's line."""
        self._lines[tier].append(item)

    def take(self) -> T | None:
        """The item whose turn it is, None if there is none."""
        waiting = [tier for tier in self._wheel.order() if self._lines[tier]]
        if not waiting:
            return None
        self._wheel.serve(waiting[0], waiting)
        return self._lines[waiting[0]].popleft()

    def drain(self) -> list[T]:
        """Everything, the buffer being empty afterwards."""
        items = [item for line in self._lines.values() for item in line]
        for line in self._lines.values():
            line.clear()
        return items

    def items(self) -> list[T]:
        """Everything, left where it is."""
        return [item for line in self._lines.values() for item in line]
