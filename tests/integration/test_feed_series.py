"""Real feeds as they were captured over weeks, read again and again: what is new, what is revised, what is not sent."""

import csv
import dataclasses
import datetime
import hashlib
import itertools
from collections.abc import Mapping
from email.utils import format_datetime
from pathlib import Path

import pytest

from consumers.runtime import isolation
from consumers.stages import feed_fetcher
from consumers.stages.feeds import reader
from contracts import artifacts, intelligence
from infra import sources, visits
from tests import sites
from tests.factories import Factory
from tests.integration.visiting import Context, worker

DATA = Path(__file__).parents[3] / "shared" / "data" / "feed_series"

pytestmark = [
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the captured feeds are not there: {DATA}"),
    pytest.mark.timeout(600),
]

EAGER = visits.Manners(feed_seconds=0.0, domain_seconds=0.0)
"""Each capture is asked for, however soon after the one before it was made."""

DEFAULT = visits.Manners(domain_seconds=0.0)
"""As operators have it who set nothing; all feeds are one site here, and need not wait for each other."""

DAY = datetime.date(2021, 9, 20)
LOOK = datetime.timedelta(minutes=5)
"""Between two looks of a client who never has enough."""


@dataclasses.dataclass(frozen=True)
class Capture:
    """A feed as it was at a time, with what the index says of it."""

    path: Path
    at: datetime.datetime
    entries: int
    new: int


@dataclasses.dataclass
class Tally:
    """What a series came to."""

    new: int = 0
    told_new: int = 0
    revised: int = 0
    repeats: int = 0
    differing: list[str] = dataclasses.field(default_factory=list)


def series() -> dict[str, list[Capture]]:
    found: dict[str, list[Capture]] = {}
    with (DATA / "index.tsv").open(encoding="utf-8") as lines:
        for name, at, entries, new, *_ in itertools.islice(csv.reader(lines, delimiter="\t"), 1, None):
            capture = Capture(DATA / name, datetime.datetime.fromisoformat(at), int(entries), int(new))
            found.setdefault(name.partition("/")[0], []).append(capture)
    return found


def serve(site: sites.Site, path: str, capture: Capture) -> None:
    """Has the server answer as a good one does whose feed was changed at that time."""
    body = capture.path.read_bytes()
    modified = format_datetime(capture.at.astimezone(datetime.UTC), usegmt=True)
    site.keeps(path, body, ETag=f'W/"{hashlib.sha256(body).hexdigest()[:20]}"', Last_Modified=modified)


async def read(ctx: Context, url: str) -> artifacts.ArticleSet:
    source = artifacts.Source(url=url, title="", relevance=1, quality=1, score=1, reason="test")
    return await feed_fetcher.run(ctx, intelligence.FetcherInput(source=source, max_articles=1000))


async def replay(ctx: Context, site: sites.Site, name: str, captures: list[Capture]) -> Tally:
    """Every capture read twice in the order of time, as by one who looks twice as often as there is something new."""
    tally = Tally()
    known: Mapping[str, artifacts.Article] = {}
    told: dict[str, str] = {}
    for capture in captures:
        serve(site, f"/{name}", capture)
        found = await read(ctx, site.url(f"/{name}"))
        again = await read(ctx, site.url(f"/{name}"))
        assert again == found, f"{capture.path}: what has not changed is read as something else"
        present = {article.id: article for article in found.records}
        new = len(present.keys() - known.keys())
        tally.new += new
        tally.told_new += capture.new
        tally.repeats += found.entries - len(present)
        tally.revised += sum(told.get(key, now.fingerprint) != now.fingerprint for key, now in present.items())
        told |= {key: article.fingerprint for key, article in present.items()}
        if new != capture.new:
            tally.differing.append(f"{capture.path.name}: {new} new, the index says {capture.new}")
        known = present
    return tally


async def known_sources(tables: Factory) -> dict[str, sources.Source]:
    async with tables.pool.acquire() as connection:
        return {source.url.rpartition("/")[2]: source for source in await sources.listing(connection, None, 100)}


async def test_only_what_is_new_is_new_and_what_has_not_changed_is_not_sent(
    tables: Factory, capsys: pytest.CaptureFixture[str]
) -> None:
    every = series()
    async with (
        sites.serve() as site,
        worker(tables, site, manners=EAGER) as one,
        isolation.ChildPool(1, [reader.__name__]) as children,
    ):
        ctx = Context(one.visitor, children, max(c.at for captures in every.values() for c in captures))
        tallies = {name: await replay(ctx, site, name, captures) for name, captures in every.items()}
    asked = await known_sources(tables)
    with capsys.disabled():
        columns = ("captures", "requests", "304", "bytes sent", "bytes saved", "new", "in index", "revised")
        print(f"\n{'feed':<12}" + "".join(f"{column:>13}" for column in columns))
        for name, tally in tallies.items():
            source = asked[name]
            share = f"{source.unchanged / source.requests:.1%}"
            figures = (len(every[name]), source.requests, share, source.bytes_received, source.bytes_saved)
            found = (*figures, tally.new, tally.told_new, tally.revised)
            print(f"{name:<12}" + "".join(f"{figure:>13}" for figure in found))
    for name, captures in every.items():
        # The first look at a capture is sent all of it, and the second nothing.
        assert (asked[name].requests, asked[name].unchanged) == (2 * len(captures), len(captures))
        assert asked[name].bytes_saved == asked[name].bytes_received
        assert tallies[name].differing == []
        assert tallies[name].repeats == 0
    # Headlines are edited under the same identity, in every newspaper of the series and not in the list of versions.
    assert {name for name, tally in tallies.items() if not tally.revised} == {"ollama"}


async def look_through(tables: Factory, ctx: Context, site: sites.Site, name: str, captures: list[Capture]) -> int:
    """Looks as long as these captures last, and lets the time between two looks pass; how many looks those were."""
    looks = 0
    moment = captures[0].at
    for capture, following in itertools.zip_longest(captures, captures[1:], fillvalue=captures[-1]):
        serve(site, f"/{name}", capture)
        while moment <= following.at:
            await read(ctx, site.url(f"/{name}"))
            looks += 1
            moment += LOOK
            await tables.fetch("UPDATE shared.pages SET next_at = next_at - $1::interval", LOOK)
            if looks == 1:
                # Its entries are years old by now, and it was not dormant then.
                await tables.fetch(
                    "UPDATE shared.pages SET renewed_at = now(), state = 'healthy', next_at = now() + $1::interval "
                    "WHERE state = 'dormant'",
                    datetime.timedelta(seconds=DEFAULT.feed_seconds) - LOOK,
                )
    return looks


async def test_a_client_that_looks_every_five_minutes_is_kept_from_the_site(
    tables: Factory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over a day of which there are captures every few minutes."""
    of_day = {name: [c for c in captures if c.at.date() == DAY] for name, captures in series().items()}
    days = {name: captures for name, captures in of_day.items() if captures}
    async with (
        sites.serve() as site,
        worker(tables, site, manners=DEFAULT) as one,
        isolation.ChildPool(1, [reader.__name__]) as children,
    ):
        ctx = Context(one.visitor, children, max(captures[-1].at for captures in days.values()))
        looks = {name: await look_through(tables, ctx, site, name, captures) for name, captures in days.items()}
    asked = await known_sources(tables)
    with capsys.disabled():
        print(f"\n{'feed':<12}" + "".join(f"{column:>13}" for column in ("looks", "requests", "304", "sent", "saved")))
        for name, source in asked.items():
            figures = (looks[name], source.requests, source.unchanged, source.bytes_received, source.bytes_saved)
            print(f"{name:<12}" + "".join(f"{figure:>13}" for figure in figures))
    assert {name: source.requests + source.remembered for name, source in asked.items()} == looks
    for name, captures in days.items():
        minutes = (captures[-1].at - captures[0].at + LOOK).total_seconds() / 60
        assert asked[name].requests <= minutes / 15 + 1
