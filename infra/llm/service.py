"""The models of one worker process, put together."""

import contextlib
from collections.abc import AsyncIterator

from infra import database, metrics
from infra.llm import asking
from infra.llm.endpoint import Endpoint
from infra.llm.faults import Outcome
from infra.llm.limits import Limits
from infra.llm.options import Options


@contextlib.asynccontextmanager
async def connect(options: Options, pool: database.Pool) -> AsyncIterator[asking.Service]:
    """The service of these options; nothing is contacted before it is asked."""
    # Without a first sample of 0 a counter has not risen, as far as Prometheus can see, when it shows its first 1.
    for model in options.models:
        for outcome in ("cached", *(outcome.value for outcome in Outcome)):
            metrics.LLM_CALLS.labels(model, outcome)
        metrics.LLM_WAIT.labels(model)
    async with Endpoint(options.key, options.url) as endpoint:
        yield asking.Service(endpoint, Limits(pool, options), options, asking.priced(options))
