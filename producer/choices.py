"""Why each article of an execution was chosen or left out, as its classification says."""

import dataclasses
from collections.abc import Iterator
from uuid import UUID

from contracts import artifacts
from contracts.errors import FactoryError
from infra import database, objects
from producer import watching

CHOSEN = "chosen"
SCHEMA = artifacts.AnalysedArticles.__name__


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """What became of one article: ``decision`` is 'chosen', or the reason for which it was left out."""

    decision: str
    title: str
    source: str
    url: str
    why: str
    id: str


async def choices(connection: database.Connection, store: objects.Objects, execution_id: UUID) -> list[Choice]:
    """Every article that was judged, the chosen ones first; raises FactoryError where none was judged yet."""
    looked = await watching.look(connection, execution_id)
    refs = [step.output for step in looked.steps if step.output and step.output.schema_name == SCHEMA]
    if not refs:
        raise FactoryError(
            f"execution {execution_id} has judged no articles; see 'factory executions show {execution_id}'"
        )
    return list(_of(artifacts.AnalysedArticles.model_validate_json(await store.get(refs[-1]))))


def _of(analysed: artifacts.AnalysedArticles) -> Iterator[Choice]:
    for record in analysed.records:
        article = record.article
        yield Choice(CHOSEN, article.title, article.source_title, article.url, record.why, article.id)
    for item in analysed.left_out:
        yield Choice(item.reason, item.title, item.source_title, item.url, item.detail, item.id)
