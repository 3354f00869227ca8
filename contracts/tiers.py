"""Subscription tiers and the weights by which they share the factory."""

import enum


class Tier(enum.StrEnum):
    """A client's subscription; the order of the members runs from the lowest to the highest."""

    BASIC = "basic"
    STANDARD = "standard"
    PREMIUM = "premium"
    ENTERPRISE = "enterprise"


WEIGHTS: dict[Tier, int] = {Tier.ENTERPRISE: 8, Tier.PREMIUM: 4, Tier.STANDARD: 2, Tier.BASIC: 1}
"""Shares of service when every tier has work waiting, the heaviest first."""


CLIENT_SHARE: dict[Tier, float] = {Tier.ENTERPRISE: 0.5, Tier.PREMIUM: 0.4, Tier.STANDARD: 0.3, Tier.BASIC: 0.2}
"""The part of all slots that one client of a tier may hold at most."""


class Quality(enum.StrEnum):
    """How deep the stages work."""

    BASIC = "basic"
    STANDARD = "standard"
    HIGH = "high"


class OptimiseFor(enum.StrEnum):
    """What a stage prefers where it has the choice."""

    COST = "cost"
    BALANCE = "balance"
    SPEED = "speed"
    QUALITY = "quality"
