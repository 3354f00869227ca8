"""What operators see of feeds: a worker reads some, and the command lists, shows and resets them."""

from pathlib import Path

import pytest

from contracts import errors
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
