"""Entry counts over a corpus of real feeds, which stands beside the checkout where it is present."""

import csv
import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.stages.feeds import reader
from contracts import artifacts, errors

CORPUS = Path(__file__).parents[3] / "shared" / "data" / "feeds"
NOW = datetime.datetime(2026, 12, 31, tzinfo=datetime.UTC)

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the corpus of real feeds is not at {CORPUS}")


def rows() -> Iterator[dict[str, str]]:
    if CORPUS.is_dir():
        with (CORPUS / "index.tsv").open() as file:
            yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)


def read(name: str) -> artifacts.ArticleSet | str:
    """The articles of a file, or why there are none."""
    url = f"http://127.0.0.1:8123/{name}"
    source = artifacts.Source(url=url, title="", relevance=1, quality=1, score=1, reason="corpus")
    body = (CORPUS / name).read_bytes()
    try:
        return reader.read(reader.Request(source=source, url=url, body=body, max_articles=10, now=NOW))
    except errors.PermanentError as error:
        return str(error)


@pytest.mark.timeout(300)
def test_entries_are_counted_as_the_index_says() -> None:
    """A gzip file counts none in the index, whose counts are of a parser that was handed the packed bytes."""
    counted: dict[str, tuple[int, int]] = {}
    for row in rows():
        found = read(row["filename"])
        counted[row["filename"]] = (found.entries if not isinstance(found, str) else 0, int(row["entries"]))

    packed = {row["filename"] for row in rows() if row["format"].startswith("gzip")}
    differing = {name for name, (ours, theirs) in counted.items() if ours != theirs}
    assert len(counted) > 250
    assert differing <= packed
    assert all(counted[name][0] > 0 for name in packed)


def test_what_cannot_be_read_has_a_reason() -> None:
    broken = {row["filename"]: read(row["filename"]) for row in rows() if row["format"] == "html"}

    assert broken
    assert all("web page, not a feed" in str(reason) for reason in broken.values())


def test_articles_of_a_feed_are_distinct_and_hold_no_markup() -> None:
    for row in rows():
        if row["encoding"] in ("gb18030", "gb2312", "shift_jis", "windows-1251", "windows-1256", "koi8-r"):
            found = read(row["filename"])
            assert not isinstance(found, str), row["filename"]
            assert found.records
            assert len({article.id for article in found.records}) == len(found.records)
            assert found.language == row["language"]
            assert not any("<p" in article.text or "�" in article.text for article in found.records)
