"""What executions of a client leave for later ones, in a real database under the workers' role."""

import datetime
import uuid

import pytest

from contracts import messages
from contracts.analysis import StoryTrace
from contracts.errors import OutageError
from contracts.memory import KnownStory, PastReport, SourceYield, ToldArticle
from contracts.tiers import Tier
from infra import database, memory
from infra.memory import ClientMemory
from tests.factories import Factory
from tests.integration.money import workers

NOW = datetime.datetime(2026, 3, 20, 12, tzinfo=datetime.UTC)
ONE, TWO, THREE = (uuid.UUID(int=number) for number in (1, 2, 3))


def of(pool: database.Pool, execution: uuid.UUID, client: str = "acme") -> ClientMemory:
    context = messages.TaskContext(client=client, tier=Tier.BASIC, template="t", template_version=1)
    key = messages.TaskKey(execution, 1, "report", 0, 1)
    return ClientMemory(pool, messages.StageTask(**key._asdict(), stage="report", timeout=60, context=context))


def story(identifier: str, title: str = "A story", texts: int = 1) -> KnownStory:
    trace = StoryTrace(engine="test", texts=texts, vector="", words={"flood": 0.5})
    return KnownStory(id=identifier, title=title, trace=trace, began=NOW, latest=NOW)


def report(*ids: str) -> PastReport:
    articles = tuple(ToldArticle(id=each, fingerprint=f"f{each}", story="s") for each in ids)
    return PastReport(told_at=NOW, articles=articles, counts={"Politics": len(ids)}, sites=1, titles={"s": "A story"})


async def test_later_executions_of_the_client_recall_and_nobody_else(tables: Factory) -> None:
    async with workers(tables) as pool:
        await of(pool, ONE).keep("floods", report("a"), [story("s1"), story("s2")], [])
        await of(pool, TWO).keep("floods", report("a", "b"), [story("s1", "It goes on", 3)], [])
        await of(pool, TWO).keep("drought", report("c"), [story("s3")], [])
        found = await of(pool, THREE).recall("floods")
        assert [len(past.articles) for past in found.reports] == [2, 1]
        assert found.reports[1] == report("a")
        assert {known.id: (known.title, known.trace.texts) for known in found.stories} == {
            "s1": ("It goes on", 3),
            "s2": ("A story", 1),
            "s3": ("A story", 1),
        }
        assert (await of(pool, THREE).recall("drought")).reports == (report("c"),)
        stranger = await of(pool, THREE, "rival").recall("floods")
        assert (stranger.reports, stranger.stories) == ((), ())
        assert await of(pool, THREE, "rival").sources() == {}


async def test_a_second_attempt_sees_the_same_past_and_replaces_what_the_first_kept(tables: Factory) -> None:
    async with workers(tables) as pool:
        await of(pool, ONE).keep("floods", report("a"), [story("s1")], [])
        before = await of(pool, TWO).recall("floods")
        await of(pool, TWO).keep("floods", report("b"), [story("s2")], [SourceYield(url="https://a", used=1)])
        assert await of(pool, TWO).recall("floods") == before
        await of(pool, TWO).keep("floods", report("c"), [story("s3")], [])
        found = await of(pool, THREE).recall("floods")
        assert found.reports == (report("c"), report("a"))
        assert {known.id for known in found.stories} == {"s1", "s3"}
        assert await of(pool, THREE).sources() == {}


async def test_yields_of_sources_add_up(tables: Factory) -> None:
    good = SourceYield(url="https://a/feed", articles=10, relevant=4, duplicates=1, used=2)
    bad = SourceYield(url="https://a/feed", error="the server answered 500")
    async with workers(tables) as pool:
        await of(pool, ONE).keep("floods", report(), [], [good])
        await of(pool, TWO).keep("floods", report(), [], [good, SourceYield(url="https://b/feed")])
        await of(pool, THREE).keep("other", report(), [], [bad])
        found = await of(pool, uuid.UUID(int=4)).sources()
        assert found.keys() == {"https://a/feed", "https://b/feed"}
        first = found["https://a/feed"]
        assert (first.runs, first.failures, first.articles, first.used) == (3, 1, 20, 4)
        assert (first.relevant, first.duplicates) == (8, 2)


async def test_stories_rest_after_a_month_and_memories_go_after_a_year(tables: Factory) -> None:
    async with workers(tables) as pool, tables.pool.acquire() as connection:
        await of(pool, ONE).keep("floods", report("a"), [story("s1")], [])
        await _age(connection, memory.STORY_DAYS + 1)
        await memory.forget(connection)
        found = await of(pool, TWO).recall("floods")
        assert (found.stories, found.reports) == ((), (report("a"),))
        await _age(connection, memory.DAYS_KEPT)
        await memory.forget(connection)
        assert (await of(pool, TWO).recall("floods")).reports == ()


async def test_a_memory_that_cannot_be_reached_is_an_outage(tables: Factory) -> None:
    async with workers(tables) as pool:
        unreachable = of(pool, ONE)
    with pytest.raises(OutageError, match="the memory of client 'acme' cannot be reached"):
        await unreachable.recall("floods")


async def _age(connection: database.Connection, days: int) -> None:
    await connection.execute("UPDATE shared.memories SET kept_at = kept_at - make_interval(days => $1)", days)
