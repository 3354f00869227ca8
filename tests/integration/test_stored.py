"""What else the database keeps: owed messages, templates, the timeline, deliverables, and what stages share."""

import asyncio
import datetime
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from contracts import messages, templates
from contracts.errors import TemplateError
from contracts.refs import DataRef
from infra import database, executions, leases, outbox, shared
from infra import templates as stored_templates
from tests.factories import Factory
from tests.integration.rows import age, document, submit


async def test_owed_messages_are_claimed_when_they_are_old_and_by_one_at_a_time(tables: Factory) -> None:
    probes = [outbox.owed(messages.Probe(nonce=str(n)), routing_key="q", correlation_id=f"c{n}") for n in range(3)]
    async with tables.pool.acquire() as first, tables.pool.acquire() as second:
        stored = await outbox.insert(first, probes)
        assert [o.id for o in stored] == sorted(o.id for o in stored)
        assert await outbox.claim(first, 10.0, 10) == []
        await age(first, 11.0)
        async with first.transaction(), second.transaction():
            assert await outbox.claim(first, 10.0, 2) == stored[:2]
            assert await outbox.claim(second, 10.0, 10) == stored[2:]
        await outbox.delete(first, [stored[0].id, stored[1].id])
        assert await outbox.claim(first, 10.0, 10) == stored[2:]
        assert await outbox.insert(first, []) == []


FULL: dict[str, Any] = {
    "name": "full",
    "title": "A title",
    "description": "Says 'it'",
    "tiers": ["basic", "premium"],
    "on_budget": "degrade",
    "parameters": [
        {"name": "topic", "type": "string", "required": True, "pattern": "[a-z]+", "editable_by": ["premium"]},
        {"name": "many", "type": "list", "default": [[1, 2], []], "choices": [[[1, 2], []], [3]]},
    ],
    "steps": [
        {"name": "z", "stage": "work", "deliver": ["html", "json"], "cost": "2.5", "timeout": 30},
        {
            "name": "a",
            "stage": "work",
            "depends_on": ["z"],
            "when": "steps.z.found > 1",
            "inputs": {"given": "z"},
            "parameters": {"topic": "parameters.topic"},
            "retry": {"attempts": 5, "base": 0.5, "cap": 9, "classes": ["transient", "budget"]},
            "fallback": ["other", "third"],
            "optional": True,
            "fan_out": {"over": ["z"], "field": "record", "join": {"policy": "percentage", "value": 50}, "window": 7},
        },
    ],
}


async def test_a_template_is_stored_whole_and_once(tables: Factory) -> None:
    template = templates.parse(FULL)
    changed = templates.parse({**FULL, "title": "Another"})
    async with tables.pool.acquire() as connection:
        assert await stored_templates.load(connection, "full") is None
        assert await stored_templates.apply(connection, template) == (template, True)
        assert await stored_templates.load(connection, "full") == template
        assert await stored_templates.apply(connection, template.model_copy(update={"version": 9})) == (template, False)
        second, new = await stored_templates.apply(connection, changed)
        assert (second.version, second.title, new) == (2, "Another", True)
        third, new = await stored_templates.apply(connection, template)
        assert (third.version, new) == (3, True), "going back is a new version"
        assert await stored_templates.load(connection, "full", 1) == template
        assert [(t["name"], t["version"], t["steps"]) for t in await stored_templates.listing(connection)] == [
            ("full", 3, 2),
            ("full", 2, 2),
            ("full", 1, 2),
        ]


async def test_templates_applied_at_once_each_get_a_version(tables: Factory) -> None:
    async def apply(number: int) -> int:
        async with tables.pool.acquire() as connection:
            stored, _ = await stored_templates.apply(connection, templates.parse({**FULL, "title": f"By {number}"}))
            return stored.version

    assert sorted(await asyncio.gather(*map(apply, range(4)))) == [1, 2, 3, 4]
    assert sorted(await asyncio.gather(*map(apply, [7, 7, 7, 7]))) == [5, 5, 5, 5]


async def test_a_template_that_was_inserted_by_hand_is_read_and_a_broken_one_refused(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        await connection.execute("INSERT INTO pipeline_templates (name, version) VALUES ('plain', 1)")
        await connection.execute(
            "INSERT INTO pipeline_steps (template, version, position, name, stage) VALUES ('plain', 1, 0, 'a', 'work')"
        )
        found = await stored_templates.load(connection, "plain")
        assert found == templates.parse({"name": "plain", "steps": [{"name": "a", "stage": "work"}]})
        await connection.execute("UPDATE pipeline_steps SET depends_on = '{gone}'")
        with pytest.raises(TemplateError, match="gone"):
            await stored_templates.load(connection, "plain")


async def test_the_workers_role_reaches_what_stages_share_and_nothing_else(tables: Factory) -> None:
    await submit(tables)
    worker_url = tables.settings.worker_database_url
    async with database.connect(worker_url, application="test", size=1) as pool, pool.acquire() as connection:
        await connection.execute(shared.SQL["write_cache"], "stage", "key", {"a": [1]}, 60.0)
        found = await connection.fetchrow(shared.SQL["read_cache"], "stage", "key")
        assert found is not None
        assert found["value"] == {"a": [1]}
        names = await tables.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        assert len(names) > 10
        refused = [
            *(
                f"{verb} public.{t['tablename']}"
                for t in names
                for verb in ("SELECT 1 FROM", "DELETE FROM", "DROP TABLE")
            ),
            "CREATE TABLE public.own (a int)",
            "CREATE TABLE shared.own (a int)",
            "DROP TABLE shared.cache",
            "CREATE SCHEMA own",
            "SELECT public.make_timeline_partitions(1)",
            "SET ROLE postgres",
            f'SET ROLE "{urlsplit(tables.settings.database_url).username}"',
        ]
        for statement in refused:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    assert await tables.statuses() == {"queued": 1}


async def test_a_cached_value_lasts_as_long_as_it_was_told_to(tables: Factory) -> None:
    cache, other = shared.SharedCache(tables.pool, "one"), shared.SharedCache(tables.pool, "two")
    assert await cache.get("key") is None
    values: list[messages.Json] = [{"a": [[], [1]]}, [], "text", 0, False]
    for value in values:
        await cache.put("key", value, 60.0)
        assert await cache.get("key") == value
    assert await other.get("key") is None
    await cache.put("gone", 1, -1.0)
    assert await cache.get("gone") is None
    async with tables.pool.acquire() as connection:
        await shared.drop_stale(connection)
        assert [r["key"] for r in await connection.fetch("SELECT key FROM shared.cache")] == ["key"]


async def test_the_timeline_has_room_for_months_to_come(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
    async with tables.pool.acquire() as connection:
        await leases.keep_house(connection)
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=80)
        await connection.execute(
            "INSERT INTO timeline (at, execution_id, kind) VALUES ($1, $2, 'test')", later, execution_id
        )
        await executions.insert_timeline(
            connection, [(execution_id, "retry", "a", None, 1, "ada", {"list": [[1], []]})]
        )
        found = await connection.fetch("SELECT kind, detail FROM timeline ORDER BY at")
        assert [(r["kind"], r["detail"]) for r in found] == [("retry", {"list": [[1], []]}), ("test", {})]
        assert await connection.fetch("SELECT 1 FROM timeline_default") == []


async def test_deliverables_of_a_later_epoch_replace_those_of_an_earlier_one(tables: Factory) -> None:
    (execution_id,) = await submit(tables)
    made = [messages.Deliverable(step="a", format="html", ref=document(name)) for name in ("old", "new")]
    async with tables.pool.acquire() as connection:
        for epoch, item in enumerate(made, start=1):
            await executions.insert_deliverables(connection, [(execution_id, epoch, item)])
        found = await connection.fetch("SELECT epoch, ref FROM deliverables")
    assert [(r["epoch"], DataRef.model_validate(r["ref"])) for r in found] == [(2, document("new"))]
