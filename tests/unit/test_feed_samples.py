"""The sample feeds that greet a newcomer are complete and readable."""

import csv
import datetime
from pathlib import Path

import pytest

from consumers.stages.feeds import reader, urls
from contracts import artifacts

SAMPLES = Path(__file__).parents[2] / "producer" / "samples"
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
MISSING = "overvoltage.xml"
CUT_OFF = "volta-workshop.xml"


def rows() -> list[dict[str, str]]:
    with (SAMPLES / "catalogue.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def read(row: dict[str, str]) -> artifacts.ArticleSet:
    source = artifacts.Source(
        url=f"http://127.0.0.1:8123/{row['path']}", title=row["title"], relevance=1, quality=1, score=1, reason="sample"
    )
    body = (SAMPLES / "feeds" / row["path"]).read_bytes()
    return reader.read(reader.Request(source=source, url=source.url, body=body, max_articles=50, now=NOW))


def test_the_catalogue_lists_every_feed_and_one_that_is_missing() -> None:
    listed = {row["path"] for row in rows()}

    assert listed == {path.name for path in (SAMPLES / "feeds").iterdir()} | {MISSING}


@pytest.mark.parametrize("row", [row for row in rows() if row["path"] != MISSING], ids=lambda row: row["path"])
def test_each_sample_gives_dated_articles_in_its_language(row: dict[str, str]) -> None:
    found = read(row)

    assert found.entries == len(found.records) >= 3
    assert found.language == row["language"]
    assert {article.language for article in found.records} == {row["language"]}
    assert all(
        article.published and article.url and article.site == urls.host(row["site"]) for article in found.records
    )
    assert all(len(article.text) > 200 for article in found.records)
    assert bool(found.problems) == (row["path"] == CUT_OFF)


def test_the_samples_are_about_sixty_distinct_articles_in_five_formats() -> None:
    sets = [read(row) for row in rows() if row["path"] != MISSING]
    ids = {article.id for found in sets for article in found.records}

    assert len(ids) == sum(found.entries for found in sets) == 62
    assert len({found.format for found in sets}) >= 5
