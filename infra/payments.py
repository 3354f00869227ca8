"""What paid calls cost and used, as metrics."""

from contracts.stages import Usage
from infra import metrics

MOST_MODELS = 50
"""Names of models that have time series of their own; further ones are counted together."""

_models: set[str] = set()


def paid(stage: str, dollars: float, usage: Usage | None) -> None:
    """Measures what a paid call cost and used."""
    model = "" if usage is None else _known(usage.model)
    metrics.COST.labels(stage, model).inc(dollars)
    if usage is not None:
        metrics.TOKENS.labels(model, "in").inc(usage.input_tokens)
        metrics.TOKENS.labels(model, "out").inc(usage.output_tokens)


def _known(model: str) -> str:
    """The model's name as a label: a service may answer with any name, and each would be time series for ever."""
    if model in _models or len(_models) < MOST_MODELS:
        _models.add(model)
        return model
    return "other"
