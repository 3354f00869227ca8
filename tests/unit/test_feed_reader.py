"""Documents of every syndication format become articles; everything else becomes a reason."""

import datetime
import gzip
import json

import pytest

from consumers.stages.feeds import reader
from contracts import artifacts, errors

NOW = datetime.datetime(2025, 6, 1, tzinfo=datetime.UTC)
URL = "https://news.example/feed"


def read(body: bytes | str, *, limit: int = 50, charset: str = "", url: str = URL) -> artifacts.ArticleSet:
    source = artifacts.Source(url=URL, title="", relevance=1, quality=1, score=1, reason="test")
    content = body.encode() if isinstance(body, str) else body
    request = reader.Request(source=source, url=url, body=content, charset=charset, max_articles=limit, now=NOW)
    return reader.read(request)


def rss(items: str, head: str = "<language>en-GB</language>") -> str:
    return (
        '<?xml version="1.0"?><rss version="2.0"><channel><title>The News</title><link>https://news.example/</link>'
        f"{head}{items}</channel></rss>"
    )


def item(title: str = "A title", extra: str = "", link: str = "https://news.example/a") -> str:
    return f"<item><title>{title}</title><link>{link}</link>{extra}</item>"


def reason(body: bytes | str) -> str:
    with pytest.raises(errors.PermanentError) as caught:
        read(body)
    assert caught.value.details == {"url": URL}
    return str(caught.value)


def test_rss() -> None:
    found = read(
        rss(
            item(
                "Fish &amp; chips",
                "<guid isPermaLink='false'>n1</guid><pubDate>Thu, 17 Apr 2025 10:30:00 +0200</pubDate>"
                "<author>jo@news.org (Jo Doe)</author>"
                "<description>&lt;p&gt;First.&lt;/p&gt;&lt;p&gt;Second.&lt;/p&gt;</description>",
                link="/a?utm_source=rss",
            )
        )
    )

    assert (found.format, found.language, found.entries, found.problems) == ("RSS 2.0", "en", 1, ())
    assert (found.source_url, found.source_title) == (URL, "The News")
    article = found.records[0]
    assert (article.title, article.text) == ("Fish & chips", "First.\nSecond.")
    assert (article.url, article.site) == ("https://news.example/a", "news.example")
    assert (article.published, article.published_from) == (
        datetime.datetime(2025, 4, 17, 8, 30, tzinfo=datetime.UTC),
        "published",
    )
    assert article.authors == ("Jo Doe",)


def test_atom_keeps_literal_text_and_prefers_the_longest_body() -> None:
    found = read(
        '<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="de"><title>Neues</title><entry><id>tag:n,2025:1</id>'
        "<title>List&lt;String&gt; erklärt</title><link href='https://news.example/a'/><updated>2025-04-17T10:30:00Z"
        "</updated><summary>Kurz.</summary><content type='html'>&lt;p&gt;Viel länger als das.&lt;/p&gt;</content>"
        "</entry></feed>"
    )

    article = found.records[0]
    assert (found.format, found.language) == ("Atom 1.0", "de")
    assert (article.title, article.text) == ("List<String> erklärt", "Viel länger als das.")
    assert article.published_from == "updated"


def test_rdf() -> None:
    found = read(
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/">'
        '<channel rdf:about="x"><title>R</title></channel><item rdf:about="https://news.example/a"><title>T</title>'
        "<link>https://news.example/a</link></item></rdf:RDF>"
    )

    assert (found.format, found.entries, found.records[0].title) == ("RSS 1.0", 1, "T")


@pytest.mark.parametrize("version", ["1", "1.1"])
def test_json_feed(version: str) -> None:
    person = {"name": "Jo Doe"}
    entry = {
        "id": 7,
        "url": "/a",
        "content_html": "<p>Some text.</p>",
        "date_published": "2025-04-17T10:30:00Z",
        **({"author": person} if version == "1" else {"authors": [person]}),
    }
    feed = {"version": f"https://jsonfeed.org/version/{version}", "title": "J", "items": [entry, {"id": "8"}, None]}

    found = read("\ufeff" + json.dumps(feed))

    assert (found.format, found.entries, len(found.records)) == (f"JSON Feed {version}", 3, 1)
    article = found.records[0]
    assert (article.title, article.url, article.authors) == ("Some text.", "https://news.example/a", ("Jo Doe",))
    assert found.problems == ("entries with neither title nor text: 2",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1", "windows-1252"])
def test_declared_encodings_of_the_west(encoding: str) -> None:
    body = rss(item("Größe")).replace('version="1.0"', f'version="1.0" encoding="{encoding}"', 1)

    assert read(body.encode(encoding)).records[0].title == "Größe"


@pytest.mark.parametrize(
    ("encoding", "title"),
    [
        ("gb18030", "电池回收"),
        ("shift_jis", "電池のリサイクル"),
        ("euc-jp", "電池のリサイクル"),
        ("windows-1251", "Переработка"),
        ("koi8-r", "Переработка"),
        ("windows-1256", "بطارية"),
        ("big5", "電池回收"),
        ("euc-kr", "배터리"),
    ],
)
def test_declared_encodings_of_the_rest_of_the_world(encoding: str, title: str) -> None:
    body = rss(item(title)).replace('version="1.0"', f'version="1.0" encoding="{encoding}"', 1)

    assert read(body.encode(encoding)).records[0].title == title


def test_the_servers_charset_counts_only_where_the_document_is_silent() -> None:
    silent = rss(item("Größe"))

    assert read(silent.encode("windows-1250"), charset="windows-1250").records[0].title == "Größe"
    assert read(silent.encode(), charset="iso-8859-1").records[0].title == "Größe"


def test_a_gzip_file_is_unpacked() -> None:
    assert read(gzip.compress(rss(item()).encode())).entries == 1
    assert "damaged gzip" in reason(b"\x1f\x8b" + b"x" * 100)
    assert "more than the limit" in reason(gzip.compress(b" " * (reader.UNPACKED_LIMIT + 1)))


@pytest.mark.parametrize(
    ("body", "explanation"),
    [
        ("", "empty"),
        (" \r\n ", "empty"),
        ("<!DOCTYPE html><html><body>Sorry</body></html>", "web page, not a feed"),
        (
            "<html><head><link rel='alternate' type='application/rss+xml' href='/rss?a=1&amp;b=2'></head></html>",
            "names this feed: https://news.example/rss?a=1&b=2",
        ),
        ("Internal Server Error", "not a feed"),
        ("<?xml version='1.0'?><note>hi</note>", "not a feed"),
        ("%PDF-1.4 \x00\x01", "not a feed"),
        ('{"version": "https://jsonfeed.org/version/1", "items": [{"id": "1"', "line 1, column 67"),
        ('{"error": "not found"}', "no list of items"),
        ("[]", "no list of items"),
        ('{"items": ' + "[" * 100_000, "nested too deeply"),
        ("<?xml version='1.0'?><rss version='2.0'><channel><title>x", "no entry can be read: the XML is broken at"),
    ],
)
def test_what_is_not_a_feed_is_explained(body: str, explanation: str) -> None:
    assert explanation in reason(body)


def test_a_feed_without_entries_is_no_failure() -> None:
    found = read(rss(""))

    assert (found.entries, found.records, found.problems) == (0, (), ("the feed has no entries",))


def test_a_truncated_feed_gives_the_entries_that_can_be_read() -> None:
    whole = rss(item("One", link="https://news.example/1") + item("Two", link="https://news.example/2"))

    found = read(whole[: whole.index("</channel>")])

    assert [article.title for article in found.records] == ["One", "Two"]
    assert "the XML is broken at line 1" in found.problems[0]


def test_entries_are_counted_before_repeats_and_caps_are_removed() -> None:
    many = "".join(item(f"Title {number}", link=f"https://news.example/{number}") for number in range(30))

    found = read(rss(item("Title 0", link="https://news.example/0?utm_source=x") + many), limit=20)

    assert (found.entries, len(found.records)) == (31, 20)
    assert len({article.id for article in found.records}) == 20
    assert found.problems == ("entries that repeat others of the feed: 1", "entries kept: 20 of 31")


def test_the_newest_entries_are_kept_where_all_are_dated() -> None:
    days = "".join(
        item(f"Day {day}", f"<pubDate>{day:02} Apr 2025 10:00:00 GMT</pubDate>", f"https://news.example/{day}")
        for day in range(1, 11)
    )

    assert [article.title for article in read(rss(days), limit=2).records] == ["Day 9", "Day 10"]


def test_a_date_in_the_far_future_gives_way_to_the_next_best() -> None:
    entry = item("T", "<pubDate>Thu, 17 Apr 2099 10:30:00 GMT</pubDate>", "https://news.example/2025/04/17/a")

    article = read(rss(entry)).records[0]

    assert (article.published_from, article.published) == ("url", datetime.datetime(2025, 4, 17, tzinfo=datetime.UTC))
    assert read(rss(item("T", "<pubDate>soon</pubDate>"))).records[0].published is None


def test_a_link_that_could_run_code_is_dropped() -> None:
    article = read(rss(item("T", link="javascript:alert(1)"))).records[0]

    assert article.url == ""


def test_a_wrongly_declared_language_is_corrected_by_enough_text() -> None:
    german = "Die Stadt hat gestern beschlossen, dass die Brücke über den Fluss im nächsten Jahr erneuert wird. " * 8
    head = "<language>en-US</language>"

    assert read(rss(item("Die Brücke", f"<description>{german}</description>"), head)).language == "de"
    assert read(rss(item("Brücke"), head)).language == "en"


def test_a_long_author_field_costs_no_time() -> None:
    """feedparser alone takes over five seconds for a field of 39 KB, four times as long for twice the length."""
    authors = "".join(item(f"T{number}", f"<author>{'a' * 500_000}</author>") for number in range(4))

    assert read(rss(authors)).entries == 4


@pytest.mark.parametrize(
    "text", [r'"\ud800"', r'"a\u0000b\u202ec"', "12345678901234567890", "[]", "null", '{"a": 1}', "true", "1e999"]
)
def test_no_value_in_a_json_feed_breaks_the_result(text: str) -> None:
    fields = ("id", "url", "title", "content_html", "content_text", "date_published", "authors", "language")
    entry = ", ".join(f'"{name}": {text}' for name in fields)

    found = read(f'{{"version": "https://jsonfeed.org/version/1.1", "title": {text}, "items": [{{{entry}}}]}}')

    assert found.entries == 1
    assert artifacts.ArticleSet.model_validate_json(found.model_dump_json()) == found
