"""Links of feeds become canonical addresses, or nothing."""

import pytest

from consumers.stages.feeds import urls

BASE = "https://news.example/feeds/all.xml"


@pytest.mark.parametrize(
    ("link", "canonical"),
    [
        ("https://news.example/a", "https://news.example/a"),
        ("HTTPS://News.EXAMPLE:443/A", "https://news.example/A"),
        ("http://news.example:80", "http://news.example/"),
        ("http://news.example:8080/a", "http://news.example:8080/a"),
        ("http://news.example./a", "http://news.example/a"),
        ("/a?b=1", "https://news.example/a?b=1"),
        ("../a", "https://news.example/a"),
        ("//other.example/a", "https://other.example/a"),
        (" https://news.example/a \n b ", "https://news.example/a%20b"),
        ("https://news.example/a?utm_source=rss&id=7&utm_medium=feed", "https://news.example/a?id=7"),
        ("https://news.example/a?fbclid=x&gclid=y", "https://news.example/a"),
        ("https://news.example/a?at_medium=RSS&at_campaign=x#xtor=RSS-1", "https://news.example/a"),
        ("https://news.example/a?b=2&a=1&b=", "https://news.example/a?b=2&a=1&b="),
        ("https://news.example/changes#v1.2", "https://news.example/changes#v1.2"),
        ("https://bücher.example/größe?q=ä", "https://xn--bcher-kva.example/gr%C3%B6%C3%9Fe?q=%C3%A4"),
        ("https://news.example/gr%C3%B6%C3%9Fe", "https://news.example/gr%C3%B6%C3%9Fe"),
        ("http://[2606:4700::1111]:80/a", "http://[2606:4700::1111]/a"),
    ],
)
def test_a_page_has_one_address_however_it_is_linked(link: str, canonical: str) -> None:
    assert urls.canonical(link, BASE) == canonical
    assert urls.canonical(canonical, BASE) == canonical


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "mailto:a@b.example",
        "ftp://news.example/a",
        "https://user:secret@news.example/a",
        "https://news.example@evil.example/a",
        "http://",
        "http://[::1",
        "http://news.example:port/",
        "https://news.example/" + "a" * 3000,
    ],
)
def test_an_unusable_link_gives_no_address(link: str) -> None:
    assert urls.canonical(link, BASE) == ""
