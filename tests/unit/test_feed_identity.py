"""Articles keep their identity from one reading to the next."""

import pytest

from consumers.stages.feeds import articles

FEED = "https://news.example/feed"
HOME = "https://news.example/"
PAGE = "https://news.example/a"


def identity(guid: str = "", address: str = "", content: str = "title\ntext", feed: str = FEED) -> str:
    return articles.identity(guid, address, content, feed, HOME)


@pytest.mark.parametrize(
    ("guid", "address"),
    [("n1", PAGE), ("tag:news.example,2025:1", PAGE), (PAGE, PAGE), ("", PAGE)],
)
def test_an_edited_entry_keeps_its_id(guid: str, address: str) -> None:
    assert identity(guid, address, "before") == identity(guid, address, "after")


def test_a_moved_page_keeps_the_id_of_the_name_that_its_publisher_gave_it() -> None:
    assert identity("n1", PAGE) == identity("n1", "https://news.example/b")


def test_the_same_page_in_another_feed_is_the_same_article() -> None:
    other = "https://news.example/sport/feed"

    assert identity("", PAGE) == identity("", PAGE, feed=other)
    assert identity(PAGE, PAGE) == identity("", PAGE, feed=other)
    assert identity("urn:uuid:1", PAGE) == identity("urn:uuid:1", "", feed=other)


def test_a_short_name_counts_within_its_feed_only() -> None:
    assert identity("1", PAGE) != identity("1", PAGE, feed="https://other.example/feed")


def test_entries_that_link_to_one_page_are_told_apart() -> None:
    assert identity("1", PAGE) != identity("2", PAGE)
    assert identity(f"{PAGE}#1", PAGE) != identity(f"{PAGE}#2", PAGE)


@pytest.mark.parametrize(("guid", "address"), [("", ""), ("", HOME), (HOME, HOME), ("", FEED)])
def test_an_entry_without_name_and_page_is_known_by_its_content(guid: str, address: str) -> None:
    assert identity(guid, address, "one") == identity(guid, address, "one")
    assert identity(guid, address, "one") != identity(guid, address, "two")
