"""Showing an execution until it is over."""

from collections.abc import AsyncIterator

import rich.console
import rich.live

from producer.cli import output, tree
from producer.watching import Progress

REFRESH_PER_SECOND = 4


async def show(looks: AsyncIterator[Progress], console: rich.console.Console) -> Progress:
    """The last look: a live tree on a terminal, lines elsewhere."""
    if not console.is_terminal:
        return await _lines(looks, console)
    with rich.live.Live(console=console, refresh_per_second=REFRESH_PER_SECOND, transient=False) as live:
        last = None
        async for last in looks:
            live.update(tree.render(last))
    return _known(last)


async def _lines(looks: AsyncIterator[Progress], console: rich.console.Console) -> Progress:
    lines = tree.Lines()
    last = None
    async for last in looks:
        for line in lines.news(last):
            console.print(output.text(line))
    return _known(last)


def _known(last: Progress | None) -> Progress:
    if last is None:
        raise RuntimeError("an execution was followed without a single look")
    return last
