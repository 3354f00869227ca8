"""Weighted round robin over the tiers: a fair order in which to serve them, whoever has more work waiting."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
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

    def due(self, waiting: Sequence[Tier]) -> Tier:
        """The first in that order of those that have work."""
        return max(waiting, key=lambda tier: self._credit[tier] + self._weights[tier])

    def serve(self, tier: Tier, waiting: Iterable[Tier]) -> None:
        """Counts a turn of ``tier``, taken while those tiers, itself included, had work."""
        competing = {*waiting, tier}
        shared = 0
        for other, weight in self._weights.items():
            if other in competing:
                self._credit[other] += weight
                shared += weight
            else:
                self._credit[other] = 0
        self._credit[tier] -= shared


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
        waiting = [tier for tier, line in self._lines.items() if line]
        if not waiting:
            return None
        tier = self._wheel.due(waiting)
        self._wheel.serve(tier, waiting)
        return self._lines[tier].popleft()

    def drain(self) -> list[T]:
        """Everything, the buffer being empty afterwards."""
        items = [item for line in self._lines.values() for item in line]
        for line in self._lines.values():
            line.clear()
        return items

    def items(self) -> list[T]:
        """Everything, left where it is."""
        return [item for line in self._lines.values() for item in line]
