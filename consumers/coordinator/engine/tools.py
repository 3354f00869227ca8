"""What the engine needs from outside."""

import dataclasses
from collections.abc import Callable

from consumers.coordinator.engine import offers


@dataclasses.dataclass(frozen=True, slots=True)
class Tools:
    """What the transitions may not make up themselves: the value of an expression, and chance."""

    evaluate: offers.Evaluate
    random: Callable[[], float]
