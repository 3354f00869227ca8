"""The feeds that were ever read, for operators: how each is, since when, and what its remembering has saved."""

import dataclasses
import datetime

from infra import database, feed_states, statements

SQL = statements.load("sources")


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A feed as it was found last. ``address`` is where it is asked for, ``moved_to`` where a redirect points that has
    been seen too seldom to count; bytes are those of bodies on their way."""

    url: str
    address: str
    state: feed_states.State
    state_since: datetime.datetime
    first_at: datetime.datetime
    asked_at: datetime.datetime | None
    succeeded_at: datetime.datetime | None
    renewed_at: datetime.datetime | None
    next_at: datetime.datetime
    failures: int
    fault: feed_states.Fault
    error: str
    moved_to: str
    requests: int
    unchanged: int
    remembered: int
    bytes_received: int
    bytes_saved: int

    @property
    def unchanged_share(self) -> float | None:
        """The part of all requests that were answered with 304, None before the first."""
        return self.unchanged / self.requests if self.requests else None


async def listing(connection: database.Connection, state: feed_states.State | None, limit: int) -> list[Source]:
    """Feeds, those that do worst first; of one state if it is given."""
    return [Source(**row) for row in await connection.fetch(SQL["listing"], state, limit)]


async def find(connection: database.Connection, url: str) -> Source | None:
    """The feed of this address, or the one that has moved to it."""
    row = await connection.fetchrow(SQL["find"], url)
    return None if row is None else Source(**row)


async def forget(connection: database.Connection, url: str) -> bool:
    """Lets a feed be asked for at once as if it had never failed or moved; False if it is not known."""
    return bool(await connection.fetch(SQL["forget"], url))


async def states(connection: database.Connection) -> dict[feed_states.State, int]:
    """How many feeds were found in each state."""
    found = {row["state"]: row["feeds"] for row in await connection.fetch(SQL["count_states"])}
    return {state: found.get(state, 0) for state in feed_states.STATES}
