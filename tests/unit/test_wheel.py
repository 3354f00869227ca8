"""Weighted round robin over the tiers."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.wheel import TierBuffer, Wheel
from contracts.tiers import WEIGHTS, Tier


def turns(wheel: Wheel, waiting: list[Tier], number: int) -> list[Tier]:
    """Who is served when these tiers always have work."""
    served = []
    for _ in range(number):
        tier = next(tier for tier in wheel.order() if tier in waiting)
        wheel.serve(tier, waiting)
        served.append(tier)
    return served


def test_tiers_with_work_share_exactly_by_weight() -> None:
    assert Counter(turns(Wheel(), list(Tier), 150)) == {tier: 10 * weight for tier, weight in WEIGHTS.items()}


def test_turns_are_spread_and_the_heaviest_comes_first() -> None:
    served = turns(Wheel(), list(Tier), 15)
    assert served[0] is Tier.ENTERPRISE
    assert all(Tier.ENTERPRISE in served[start : start + 3] for start in range(12)), "no long wait within a round"


@given(st.sets(st.sampled_from(list(Tier)), min_size=1), st.integers(1, 5))
def test_those_that_have_work_share_by_weight_whoever_is_absent(waiting: set[Tier], rounds: int) -> None:
    total = sum(WEIGHTS[tier] for tier in waiting)
    served = Counter(turns(Wheel(), sorted(waiting), rounds * total))
    assert served == {tier: rounds * WEIGHTS[tier] for tier in waiting}


def test_a_tier_without_work_saves_no_turns_up() -> None:
    wheel = Wheel()
    turns(wheel, [Tier.BASIC], 1000)
    assert Counter(turns(wheel, [Tier.BASIC, Tier.ENTERPRISE], 90)) == {Tier.ENTERPRISE: 80, Tier.BASIC: 10}


@given(st.lists(st.sets(st.sampled_from(list(Tier)), min_size=1), max_size=60))
def test_whatever_comes_and_goes_everyone_who_waits_long_enough_is_served(history: list[set[Tier]]) -> None:
    wheel = Wheel()
    for waiting in history:
        turns(wheel, sorted(waiting), 1)
    assert Tier.BASIC in turns(wheel, list(Tier), 16)


def test_a_buffer_keeps_the_order_within_a_tier_and_is_empty_in_the_end() -> None:
    buffer: TierBuffer[int] = TierBuffer()
    for number in range(20):
        buffer.add(list(Tier)[number % 4], number)
    assert len(buffer) == 20
    taken = [buffer.take() for _ in range(20)]
    assert buffer.take() is None
    assert len(buffer) == 0
    for start in range(4):
        own = [number for number in taken if number is not None and number % 4 == start]
        assert own == sorted(own)
    assert sorted(number for number in taken if number is not None) == list(range(20))


@pytest.mark.parametrize("tier", list(Tier))
def test_a_single_tier_is_served_at_once(tier: Tier) -> None:
    buffer: TierBuffer[str] = TierBuffer()
    buffer.add(tier, "item")
    assert buffer.items() == ["item"]
    assert buffer.take() == "item"


def test_draining_takes_everything() -> None:
    buffer: TierBuffer[int] = TierBuffer()
    for number, tier in enumerate(Tier):
        buffer.add(tier, number)
    assert sorted(buffer.drain()) == [0, 1, 2, 3]
    assert (len(buffer), buffer.take()) == (0, None)
