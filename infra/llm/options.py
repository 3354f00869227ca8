"""What settings say about language models."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from infra import variables
from infra.llm import prices as pricing

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,99}")


@dataclass(frozen=True)
class Options:
    """Which models are asked and where; ``requests`` and ``tokens`` are limits a minute for each model, 0 is none.

    ``thinking`` are tokens that a model may use before it begins to answer; services count them as output.
    """

    key: str = field(default="", repr=False)
    url: str = field(default="https://api.openai.com/v1", repr=False)
    models: tuple[str, ...] = ()
    seconds: float = 60.0
    concurrency: int = 8
    requests: int = 500
    tokens: int = 200_000
    thinking: int = 4000
    prices: Mapping[str, pricing.Price] = field(default_factory=dict)

    @property
    def on(self) -> bool:
        """Whether a model can be asked."""
        return bool(self.key and self.models)


def read(values: Mapping[str, str]) -> Options:
    """The options of an environment; raises SettingsError."""
    return Options(
        key=values.get("OPENAI_API_KEY", ""),
        url=variables.url(values, "OPENAI_BASE_URL", ("http", "https"), required=False) or Options().url,
        models=variables.optional(values, "FACTORY_LLM_MODELS", _models, Options.models),
        seconds=variables.number(values, "FACTORY_LLM_SECONDS", float, Options.seconds, most=600.0),
        concurrency=variables.number(values, "FACTORY_LLM_CONCURRENCY", int, Options.concurrency),
        requests=variables.number(values, "FACTORY_LLM_REQUESTS_PER_MINUTE", int, Options.requests, least=0),
        tokens=variables.number(values, "FACTORY_LLM_TOKENS_PER_MINUTE", int, Options.tokens, least=0),
        thinking=variables.number(values, "FACTORY_LLM_THINKING_TOKENS", int, Options.thinking, least=0),
        prices=variables.optional(values, "FACTORY_LLM_PRICES", _prices, {}),
    )


def _models(name: str, value: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(entry.strip() for entry in value.split(",") if entry.strip()))
    for entry in found:
        if not _MODEL.fullmatch(entry):
            raise variables.SettingsError(
                f"{name}: {entry!r} is no name of a model: list names such as gpt-5-mini,gpt-5-nano, "
                "the preferred first."
            )
    return found


def _prices(name: str, value: str) -> dict[str, pricing.Price]:
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
