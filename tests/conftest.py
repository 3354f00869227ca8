"""Fixtures that every kind of test may ask for."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import structlog

from infra import settings
from infra.local import stack as local_stack
from tests import factories


def pytest_configure() -> None:
    """Lets commands that tests start be interrupted, also where the tests themselves run in the background of a shell:
    a shell has such jobs ignore SIGINT, and what they start inherits that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """How many processes share the tests: two more than cores, since tests of faults wait now and then."""
    return len(os.sched_getaffinity(0)) + 2


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[settings.Settings]:
    """RabbitMQ, Postgres and S3 of this test session alone, and the settings that find them."""
    with local_stack.temporary(tmp_path_factory.mktemp("stack")) as found:
        yield found


@pytest.fixture(autouse=True)
def log_ends_with_its_test() -> Iterator[None]:
    """Takes back how a test has configured the log, whose stream is closed by then."""
    yield
    structlog.reset_defaults()


@pytest_asyncio.fixture
async def factory(stack: settings.Settings, tmp_path: Path) -> AsyncIterator[factories.Factory]:
    """A provisioned factory of this test alone, without processes."""
    async with factories.make(stack, tmp_path) as made:
        yield made
