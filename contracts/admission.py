"""What fair admission decides on."""

import dataclasses
from uuid import UUID

from contracts.tiers import Tier


@dataclasses.dataclass(frozen=True, slots=True)
class Head:
    """A queued execution at the head of its client's line; ``cost`` is its estimate."""

    execution_id: UUID
    client: str
    tier: Tier
    cost: float
    template: str = ""
    template_version: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """A flow's virtual times: when its last job finishes, and how far the flows inside it have come."""

    finish: float = 0.0
    virtual_time: float = 0.0
