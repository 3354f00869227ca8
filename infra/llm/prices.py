"""What tokens cost: a table of public prices, to which settings can add. Integers throughout: sums are exact."""

import dataclasses
import decimal
import functools
import importlib.resources
import re
from collections.abc import Mapping

MILLION = 1_000_000
LARGEST = 1_000_000
"""Dollars for a million tokens: no price is above it."""

_DATED = re.compile(r"-(?:20\d\d-\d\d-\d\d|20\d{6})$")


@dataclasses.dataclass(frozen=True)
class Price:
    """What a million tokens cost, in millionths of a US dollar: read, read from the service's own cache, written."""

    input: int
    cached: int
    output: int

    def of(self, input_tokens: int, cached_tokens: int, output_tokens: int) -> int:
        """What a call cost, in millionths of a US dollar, rounded up once; cached tokens are part of the input."""
        cached = min(cached_tokens, input_tokens)
        exact = (input_tokens - cached) * self.input + cached * self.cached + output_tokens * self.output
        return -(-exact // MILLION)

    def most(self, input_tokens: int, output_tokens: int) -> int:
        """What a call with at most so many tokens can cost."""
        exact = input_tokens * max(self.input, self.cached) + output_tokens * self.output
        return -(-exact // MILLION)


def parse(text: str) -> Price:
    """A price written as dollars for a million tokens, ``input/cached input/output``. Raises ValueError."""
    parts = text.split("/")
    if len(parts) != 3:
        raise ValueError("a price has three parts: input/cached input/output")
    return Price(*(_millionths(part) for part in parts))


def _millionths(text: str) -> int:
    try:
        dollars = decimal.Decimal(text)
    except decimal.InvalidOperation:
        raise ValueError(f"{text!r} is no number of dollars") from None
    amount = dollars * MILLION
    if not dollars.is_finite() or not 0 <= dollars <= LARGEST or amount != int(amount):
        raise ValueError(f"{text!r} is not between 0 and {LARGEST} dollars, of at most six decimals")
    return int(amount)


@functools.cache
def table() -> Mapping[str, Price]:
    """The public prices of ``prices.tsv`` by model."""
    content = importlib.resources.files("infra.llm").joinpath("prices.tsv").read_text("utf-8")
    rows = [line.split("\t") for line in content.splitlines() if line and not line.startswith("#")]
    return {model: parse("/".join(price)) for model, *price in rows[1:]}


def find(model: str, own: Mapping[str, Price]) -> Price | None:
    """The price of a model, the settings' before the table's; None where neither has it.

    The table knows a model also with a date at its end and a vendor before it: ``openai/gpt-4o-2024-08-06``.
    """
    if model in own:
        return own[model]
    name = model.rpartition("/")[2]
    return table().get(name) or table().get(_DATED.sub("", name))


def dearest() -> Price:
    """The highest prices of the table: what a model of unknown price is taken to cost."""
    known = table().values()
    return Price(
        max(price.input for price in known), max(price.cached for price in known), max(price.output for price in known)
    )
