"""Folders of feeds: which files are served, and what is known of each."""

from pathlib import Path

import pytest

from contracts.errors import FactoryError
from producer import collection


def test_the_samples_are_all_in_their_catalogue() -> None:
    samples = collection.samples()
    assert len(samples.feeds) >= 10
    assert all(feed.title != feed.path and feed.topics and feed.language for feed in samples.feeds)


def test_a_folder_without_an_index_is_taken_as_it_is(tmp_path: Path) -> None:
    for name in ("b.rss", "a b.xml", "c.json", "notes.txt", "d.ATOM"):
        (tmp_path / name).write_text("")
    found = collection.of_folder(tmp_path)
    assert [feed.path for feed in found.feeds] == ["a b.xml", "b.rss", "c.json", "d.ATOM"]
    entry = found.catalogue("127.0.0.1:8000").records[0]
    assert (entry.url, entry.title, entry.site) == ("http://127.0.0.1:8000/a%20b.xml", "a b.xml", "a b.xml")
    assert collection.path_of(entry.url) == "a b.xml"


def test_an_index_names_title_site_language_and_topics(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("")
    (tmp_path / "b.xml").write_text("")
    (tmp_path / "index.tsv").write_text(
        "filename\ttitle\tsite\tlanguage\ttopic\n"
        'a.xml\tThe "A"\thttps://a.example/news/\tde\tai-ml, podcast\n'
        "gone.xml\tGone\t\t\t\n"
    )
    found = collection.of_folder(tmp_path)
    assert found.feeds == (
        collection.Feed("a.xml", 'The "A"', ("ai-ml", "podcast"), "a.example", "de"),
        collection.Feed("b.xml", "b.xml"),
    )


def test_folders_that_cannot_be_served_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match="there is no folder"):
        collection.of_folder(tmp_path / "none")
    with pytest.raises(FactoryError, match="holds no feeds"):
        collection.of_folder(tmp_path)
    (tmp_path / "index.tsv").write_text("name\ttitle\n")
    with pytest.raises(FactoryError, match="lacks the column 'filename'"):
        collection.of_folder(tmp_path)
