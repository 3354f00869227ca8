"""The memory of a client in Postgres, under the workers' own role."""

from collections.abc import Mapping, Sequence

import pydantic

from contracts.errors import OutageError
from contracts.memory import KnownStory, PastReport, Recollection, SourceHistory, SourceYield
from contracts.messages import StageTask
from infra import database, statements

SQL = statements.load("memory")

STORY_DAYS = 30
"""A story of which nothing was told for so long does not go on; what sounds like it then is another one."""

REPORTS = 12
"""Reports on one subject that are recalled: a quarter of weekly ones."""

EXECUTIONS = 60
"""Executions whose stories and sources are recalled at most, those of all subjects together."""

STORIES = 1000
"""Stories that are recalled at most: about 3 MB, and a table of similarities that a worker computes in a second."""

DAYS_KEPT = 400
"""A year and a month, so that a yearly report knows the one before."""

_STORIES = pydantic.TypeAdapter(tuple[KnownStory, ...])


async def forget(connection: database.Connection) -> None:
    """Removes what is too old to be recalled."""
    await connection.execute(SQL["forget"], DAYS_KEPT)


class ClientMemory:
    """The memory of the client of one task. A database that is away is an OutageError: a report must not forget."""

    def __init__(self, pool: database.Pool, task: StageTask) -> None:
        self._pool = pool
        self._client = task.context.client
        self._execution = task.execution_id

    async def recall(self, subject: str) -> Recollection:
        """The stories and the reports that other executions of the client kept, the reports on this subject only."""
        stories = await self._rows(SQL["stories"], self._client, self._execution, STORY_DAYS, EXECUTIONS, STORIES)
        reports = await self._rows(SQL["reports"], self._client, subject, self._execution, REPORTS)
        return Recollection(
            stories=_STORIES.validate_python([row["story"] for row in stories]),
            reports=tuple(PastReport.model_validate(row["report"]) for row in reports),
        )

    async def sources(self) -> Mapping[str, SourceHistory]:
        """What other executions of the client got out of each source, by its URL."""
        rows = await self._rows(SQL["sources"], self._client, self._execution, EXECUTIONS)
        return {
            row["url"]: SourceHistory(
                runs=row["runs"],
                failures=row["failures"],
                articles=row["articles"],
                relevant=row["relevant"],
                duplicates=row["duplicates"],
                used=row["used"],
            )
            for row in rows
        }

    async def keep(
        self, subject: str, report: PastReport, stories: Sequence[KnownStory], sources: Sequence[SourceYield]
    ) -> None:
        """Leaves this for later executions, in the place of what this execution left before."""
        await self._rows(SQL["keep"], self._client, self._execution, subject, report, list(stories), list(sources))

    async def _rows(self, statement: str, *arguments: object) -> list[database.Row]:
        try:
            async with self._pool.acquire() as connection:
                return list(await connection.fetch(statement, *arguments))
        except (database.Failure, *database.UNAVAILABLE) as error:
            raise OutageError(f"the memory of client '{self._client}' cannot be reached: {error!r}") from error
