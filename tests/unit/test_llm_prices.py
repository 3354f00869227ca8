"""What a call costs, to the millionth of a dollar, and what it can cost at most."""

import fractions
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.llm import asking, options, prices
from infra.llm.prices import Price

tokens = st.integers(0, 10**7)
amounts = st.integers(0, 200 * prices.MILLION)


@given(st.builds(Price, amounts, amounts, amounts), tokens, tokens, tokens)
def test_a_cost_is_exact_and_rounded_up_once(price: Price, read: int, kept: int, written: int) -> None:
    kept = min(read, kept)
    exact = fractions.Fraction((read - kept) * price.input + kept * price.cached + written * price.output, 10**6)
    assert price.of(read, kept, written) == math.ceil(exact)
    assert price.of(read, kept, written) <= price.most(read, written)


def test_a_price_is_dollars_for_a_million_tokens() -> None:
    assert prices.parse("0.25/0.025/2") == Price(250_000, 25_000, 2_000_000)
    assert prices.parse("0.25/0.025/2").of(1_000_000, 0, 0) == 250_000
    assert prices.parse("0.25/0.025/2").of(1, 0, 0) == 1


@pytest.mark.parametrize("text", ["", "1/2", "1/2/x", "1/2/-3", "1/2/nan", "1/2/1e9", "0.0000001/1/1", "1/2/3/4"])
def test_a_price_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"price|dollars"):
        prices.parse(text)


@pytest.mark.parametrize(
    "model", ["gpt-4o-mini", "gpt-4o-mini-2024-07-18", "openai/gpt-4o-mini", "x/gpt-4o-mini-20240718"]
)
def test_a_model_is_known_with_a_vendor_and_a_date(model: str) -> None:
    assert prices.find(model, {}) == prices.parse("0.15/0.075/0.6")


@pytest.mark.parametrize("model", ["gpt-4o-mini-tuned", "gpt-4", "", "gpt-4o-mini-2024"])
def test_a_model_with_another_name_is_not_known(model: str) -> None:
    assert prices.find(model, {}) is None


def test_settings_come_before_the_table_and_an_unknown_model_costs_what_the_dearest_does() -> None:
    own = {"gpt-4o": prices.parse("0/0/0")}
    found = asking.priced(options.Options(models=("gpt-4o", "gpt-4.1", "homemade"), prices=own))
    assert found == {
        "gpt-4o": Price(0, 0, 0),
        "gpt-4.1": prices.parse("2/0.5/8"),
        "homemade": prices.dearest(),
    }
    assert all(
        prices.dearest().of(5, 2, 7) >= price.of(5, 2, 7) and price.cached <= price.input
        for price in prices.table().values()
    )
