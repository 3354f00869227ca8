"""The delay before another attempt: full jitter below a bound that doubles up to a cap."""

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.coordinator.engine import backoff
from contracts.templates import Retry

policies = st.builds(Retry, base=st.floats(0.001, 3600), cap=st.floats(0.001, 86400))
JUST_BELOW_ONE = 1 - 2**-53


@given(policies, st.integers(0, 10_000), st.floats(0, JUST_BELOW_ONE))
def test_a_delay_lies_between_nothing_and_its_bound(retry: Retry, retries: int, chance: float) -> None:
    bound = min(retry.cap, retry.base * 2 ** min(retries, 62))
    assert 0 <= backoff.delay(retry, retries, chance) <= bound


@given(policies, st.integers(0, 100))
def test_the_bound_never_falls_and_never_passes_the_cap(retry: Retry, retries: int) -> None:
    now, later = (backoff.delay(retry, number, JUST_BELOW_ONE) for number in (retries, retries + 1))
    assert now <= later <= retry.cap


@pytest.mark.parametrize(("retries", "bound"), [(0, 2.0), (1, 4.0), (2, 8.0), (3, 10.0), (50, 10.0)])
def test_delays_are_spread_evenly_below_the_bound(retries: int, bound: float) -> None:
    chance = random.Random(5)
    delays = [backoff.delay(Retry(base=2.0, cap=10.0), retries, chance.random()) for _ in range(4000)]
    assert statistics.mean(delays) == pytest.approx(bound / 2, rel=0.05)
    assert statistics.quantiles(delays, n=4) == pytest.approx([bound / 4, bound / 2, bound * 3 / 4], rel=0.06)
    assert max(delays) <= bound


def test_a_policy_reaches_its_cap_whatever_its_base() -> None:
    assert backoff.delay(Retry(base=1e-9, cap=86400), 50, 0.5) == 43200
