"""What settings say about language models."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from infra import variables
from infra.llm import prices as pricing

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,99}")


@dataclass(frozen=True)
class Options:
    """Which models are asked and where; the limits hold for each model, and 0 a minute is none.

    ``thinking_tokens`` are those that a model may use before it begins to answer; services count them as output.
    """

    key: str = field(default="", repr=False)
    url: str = field(default="https://api.openai.com/v1", repr=False)
    models: tuple[str, ...] = ()
    seconds: float = 60.0
    concurrency: int = 8
    requests_per_minute: int = 500
    tokens_per_minute: int = 200_000
    thinking_tokens: int = 4000
    prices: Mapping[str, pricing.Price] = field(default_factory=dict)

    @property
    def on(self) -> bool:
        """Whether a model can be asked."""
        return bool(self.key and self.models)


def names(name: str, value: str) -> tuple[str, ...]:
    """Names of models, as FACTORY_LLM_MODELS lists them; each counts once."""
    found = tuple(dict.fromkeys(entry.strip() for entry in value.split(",") if entry.strip()))
    for entry in found:
        if not _MODEL.fullmatch(entry):
            raise variables.SettingsError(
                f"{name}: {entry!r} is no name of a model: list names such as gpt-5-mini,gpt-5-nano, "
                "the preferred first."
            )
    return found


def prices(name: str, value: str) -> dict[str, pricing.Price]:
    """Prices by model, as FACTORY_LLM_PRICES lists them."""
    found = {}
    for entry in (part.strip() for part in value.split(",") if part.strip()):
        model, _, price = entry.partition("=")
        try:
            found[model.strip()] = pricing.parse(price.strip())
        except ValueError as error:
            raise variables.SettingsError(
                f"{name}: {entry!r} cannot be used: {error}. Give MODEL=INPUT/CACHED/OUTPUT in dollars for a million "
                "tokens, such as gpt-5-mini=0.25/0.025/2."
            ) from None
    return found
