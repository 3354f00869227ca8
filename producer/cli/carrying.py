"""Operations over dead letters from their order to their end, as a command follows them."""

import dataclasses
import time

from contracts.errors import FactoryError
from infra import dead_letters, dead_operations
from infra.dead_letters import Tally
from infra.dead_operations import Action, Operation, Order
from producer import letters
from producer.cli import letters as shown
from producer.cli import output, session
from producer.cli.filters import Filter

QUIET_SECONDS = 10.0
"""Without any progress for so long, somebody should see whether a coordinator runs."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for."""

    action: Action
    chosen: Filter
    note: str
    canary: int
    rate: float | None


async def tally(wish: Wish) -> list[Tally]:
    """What would be chosen."""
    async with session.tables(session.known()) as connection:
        return await dead_letters.tally(connection, await wish.chosen.selection(connection))


async def start(wish: Wish) -> int:
    """Orders the operation and returns its number."""
    async with session.tables(session.known()) as connection:
        selection = await wish.chosen.selection(connection)
        order = Order(wish.action, letters.actor(), selection, wish.note, wish.canary, wish.rate)
        return await dead_operations.start(connection, order)


async def look(number: int) -> Operation:
    """The operation as it stands."""
    async with session.tables(session.known()) as connection:
        return await letters.operation(connection, number)


async def watch(number: int, *, quiet: bool) -> Operation:
    """The operation once it is over; on the way it says how far it has come."""
    told: tuple[object, ...] = ()
    moved = time.monotonic()
    async with session.tables(session.known()) as connection:
        async for last in letters.follow(connection, number):
            now = (last.status, last.done, last.problems)
            if now != told:
                told, moved = now, time.monotonic()
                if not quiet and output.stderr().is_terminal:
                    output.note(line(last))
            elif last.status == "running" and time.monotonic() - moved > QUIET_SECONDS:
                moved = time.monotonic()
                output.note(f"operation {number} does not go on; see whether 'factory status' shows a coordinator")
        return last


def line(operation: Operation) -> str:
    """How an operation stands, in a line."""
    word = {"canary": "waiting for its canary", "canary_failed": "canary failed"}
    status = word.get(operation.status, operation.status)
    return f"operation {operation.id}: {status}, {shown.progress(operation)} letters"


def tell(operation: Operation) -> None:
    """How an operation stands, and what a person may want to know next."""
    output.say(line(operation))
    if operation.status == "canary_failed":
        output.note(
            f"letters of the canary died again; the other {operation.left} stay open. See 'factory dead list', mend "
            "the cause, and requeue them anew"
        )
    if operation.problems:
        output.note("letters with a problem stay open; 'factory dead list' and 'factory dead show' say why")


async def stop(number: int) -> Operation:
    """Stops the operation."""
    async with session.tables(session.known()) as connection:
        if not await dead_operations.stop(connection, number, letters.actor()):
            found = await letters.operation(connection, number)
            raise FactoryError(f"operation {number} is over: {found.status}")
        return await letters.operation(connection, number)


async def resume(number: int) -> None:
    """Goes on with the operation."""
    async with session.tables(session.known()) as connection:
        if not await dead_operations.resume(connection, number):
            found = await letters.operation(connection, number)
            remedy = "; order a new one for what is open" if found.status == "canary_failed" else ""
            raise FactoryError(f"operation {number} is not stopped but {found.status}{remedy}")
