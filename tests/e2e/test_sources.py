"""What operators see of feeds: a worker reads some, and the command lists, shows and resets them."""

from pathlib import Path

import pytest

from contracts import errors, messages, templates
from infra import templates as stored_templates
from tests import sites
from tests.e2e.test_cli import Cli
from tests.factories import Factory
from tests.integration.visiting import time_passes, worker

pytestmark = pytest.mark.timeout(300)


async def test_feeds_are_listed_shown_and_reset(factory: Factory, tmp_path: Path) -> None:
    cli = Cli(factory, tmp_path / "home")
    assert "no feeds" in await cli.run("sources", "list")
    async with sites.serve() as site, worker(factory, site) as one:
        site.keeps("/good", "a", ETag='"1"')
        site.says("/bad", "", status=429, Retry_After="3000")
        good, bad = site.url("/good", "good.example"), site.url("/bad", "www.bad.example")
        await one.follow(good)
        await time_passes(factory)
        await one.follow(good)
        for _ in range(3):
            with pytest.raises(errors.TransientError):
                await one.follow(bad)
            await time_passes(factory)
        await factory.fetch("UPDATE shared.domains SET hold_until = now() + interval '1 hour' WHERE strikes > 0")
        await factory.fetch("UPDATE shared.pages SET next_at = now() + interval '1 hour' WHERE failures > 0")
        worst, best = await cli.json("sources", "list")
        assert (worst["url"], worst["state"], worst["failures"]) == (bad, "degraded", 3)
        assert (best["state"], best["unchanged_share"], best["bytes_saved"]) == ("healthy", 0.5, 1)
        assert [each["url"] for each in await cli.json("sources", "list", "--state", "healthy")] == [good]
        assert "give one of: healthy" in await cli.run("sources", "list", "--state", "ill", status=1)
        table = await cli.run("sources", "list")
        assert "degraded" in table
        assert "50%" in table
        shown = await cli.json("sources", "show", bad)
        assert (shown["hold"]["domain"], shown["fault"]) == ("bad.example", "failing")
        assert "429 Too Many Requests" in await cli.run("sources", "show", bad)
        # Whoever resets it has it asked for at once.
        assert (await cli.json("sources", "reset", bad))["released"] == "bad.example"
        site.says("/bad", "b")
        assert (await one.follow(bad)).result == "b"
        assert "no worker has read" in await cli.run("sources", "show", "http://other.example/", status=1)
        assert "no worker has read" in await cli.run("sources", "reset", "http://other.example/", status=1)


async def test_a_task_that_waits_for_others_at_a_site_is_not_charged(factory: Factory) -> None:
    source = "{'url': parameters.url, 'title': '', 'relevance': 1, 'quality': 1, 'score': 1, 'reason': 'test'}"
    step = {"name": "read", "stage": "feed_fetcher", "retry": {"attempts": 1}, "parameters": {"source": source}}
    url = {"name": "url", "type": "string", "required": True}
    template = templates.parse({"name": "one", "parameters": [url], "steps": [step]})
    async with factory.pool.acquire() as connection:
        await stored_templates.apply(connection, template)
    await factory.client()
    async with sites.serve() as site, factory.connect() as client:
        site.says("/feed", "<rss version='2.0'><channel><item><title>Crane</title></item></channel></rss>")
        # Others are at the site for longer than an attempt is patient. By this name it is not the operator's own.
        await factory.fetch(
            "INSERT INTO shared.turns (domain, lease_until) "
            "SELECT 'localhost', now() + interval '20 seconds' FROM generate_series(1, 2)"
        )
        factory.coordinator()
        factory.worker("feed_fetcher", FACTORY_FETCH_ALLOW=site.address)
        await client.submit("one", parameters={"url": site.url("/feed", "localhost")})
        (finished,) = await client.answered(messages.ExecutionFinished)
    assert finished.status == "completed"
    (row,) = await factory.fetch("SELECT attempt, retries FROM step_executions")
    assert row["attempt"] > 1
    assert row["retries"] == 0
    facts = await factory.fetch("SELECT detail ->> 'error' AS error FROM timeline WHERE kind = 'outage'")
    assert {row["error"] for row in facts} == {"localhost is asked by other workers now"}
