"""An attempt at a task that asks the models of a test, with the ledger and limits of a real database."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from contracts import messages
from infra import database, shared
from infra.llm import asking, options, prices, service
from infra.llm.asking import Asker
from tests import llm_server
from tests.factories import Factory
from tests.integration import money

MODELS = ("tiny", "other")


def chosen(server: llm_server.Server, **fields: Any) -> options.Options:
    """Options that reach the server, without limits a minute unless a test sets some."""
    given = options.Options(
        key=llm_server.KEY,
        url=server.url,
        models=MODELS,
        seconds=5.0,
        requests_per_minute=0,
        tokens_per_minute=0,
        thinking_tokens=0,
        prices=dict.fromkeys(MODELS, prices.parse(llm_server.PRICES)),
    )
    return dataclasses.replace(given, **fields)


@asynccontextmanager
async def connected(pool: database.Pool, server: llm_server.Server, **fields: Any) -> AsyncIterator[asking.Service]:
    async with service.connect(chosen(server, **fields), pool) as found:
        yield found


def asker(
    found: asking.Service,
    pool: database.Pool,
    key: messages.TaskKey,
    *,
    seconds: float = 60.0,
    degraded: bool = False,
) -> Asker:
    """What one attempt asks with."""
    budget = money.purse(pool, key, degraded=degraded)
    return found.asker(budget, shared.SharedCache(pool, "llm"), lambda: seconds, degraded=degraded)


async def spent(tables: Factory, key: messages.TaskKey) -> tuple[int, int]:
    """What the execution has spent, and what is still reserved for calls of which nobody knows the end."""
    reserved, total, overrun = await money.account(tables, key.execution_id)
    assert overrun == 0
    return total, reserved
