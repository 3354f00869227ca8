"""A coordinator that runs removes what is old, and takes what is new beside it."""

from contracts import messages
from tests import filling
from tests.factories import Factory, eventually


async def test_a_coordinator_removes_what_was_over_long_ago(factory: Factory) -> None:
    await factory.client()
    await factory.template("one", [{"name": "work"}])
    async with factory.pool.acquire() as connection:
        await filling.clients(connection, 4)
        await filling.executions(connection, "one", "completed", 600, of=4, days=(20, 3))
        await filling.executions(connection, "one", "paused", 5, of=4, days=(20, 3))
        await filling.steps(connection, "completed", "completed")
    factory.coordinator(FACTORY_RETENTION_DAYS="2")
    factory.worker()
    async with factory.connect() as client:
        await client.submit("one")
        await client.answered(messages.ExecutionFinished)

    async def removed() -> bool:
        return await factory.statuses() == {"completed": 1, "paused": 5}

    await eventually(removed, "what is old is gone")
    assert len(await factory.fetch("SELECT 1 FROM step_executions")) == 1
