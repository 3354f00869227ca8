"""The command that shows the queues."""

from typing import Annotated

import typer

from contracts import registry
from contracts.errors import FactoryError
from producer import depths
from producer.cli import output, session
from producer.depths import Depth


def register(app: typer.Typer, name: str) -> None:
    """Adds the command."""
    app.command(name)(queues)


def queues(
    stage: Annotated[str | None, typer.Option(help="Only the queues of this stage.")] = None,
    json: output.Json = False,
) -> None:
    """Show every queue: how many messages wait, for how long the oldest task, its consumers, what they hold.

    Example: factory queues --stage feed_fetcher
    """
    if stage is not None and stage not in registry.specs():
        known = ", ".join(sorted(registry.specs()))
        raise FactoryError(f"there is no stage '{stage}' here; give one of: {known}")
    found = session.run(_depths(stage))
    if json:
        output.document(found)
        return
    rows = [
        (
            row.queue,
            "missing" if row.depth is None else row.depth,
            output.seconds(row.oldest),
            "" if row.consumers is None else row.consumers,
            "" if row.unacknowledged is None else row.unacknowledged,
        )
        for row in found
    ]
    output.table(("queue", "waiting", "oldest", "consumers", "with them"), rows, "no queues")
    if any(row.depth is None for row in found):
        output.note("queues are missing; run 'factory migrate'")


async def _depths(stage: str | None) -> list[Depth]:
    configured = session.known()
    async with session.tables(configured) as connection:
        return await depths.depths(configured, connection, stage)
