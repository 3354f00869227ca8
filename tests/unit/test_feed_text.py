"""Markup of feeds becomes clean text."""

import pytest

from consumers.stages.feeds import document, text


@pytest.mark.parametrize(
    ("markup", "plain"),
    [
        ("<p>One</p><p>Two</p>", "One\nTwo"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<ul><li>x<li>y</ul>", "x\ny"),
        ("a <b>bold</b> <a href='x'>link</a>", "a bold link"),
        ("Caf&eacute; &amp; Bar &#8211; 5 &lt; 6", "Café & Bar \u2013 5 < 6"),
        ("&lt;p&gt;once&lt;/p&gt;&lt;p&gt;more&lt;/p&gt;", "once\nmore"),
        ("x<script>alert('1')</script>y<style>p{}</style>z", "xyz"),
        ("<svg><text>no</text></svg>yes", "yes"),
        ("a\u00a0\u2003 b\t\tc\r\n\r\nd", "a b c\nd"),
        ("in\u200bvis\u00adible \u202eevil\u202c \x1b[31m\x07", "invisible evil [31m"),
        ("unclosed <b <i>tag", "unclosed tag"),
        ("half \ud83d pair", "half \ufffd pair"),
        ("👩\u200d🔬 e\u0301", "👩\u200d🔬 é"),
        ("donâ€™t dÃ©faite", "don\u2019t défaite"),
        ("créée à l\u2019été", "créée à l\u2019été"),
        ("", ""),
    ],
)
def test_markup_becomes_text_with_a_line_for_each_paragraph(markup: str, plain: str) -> None:
    assert text.plain(document.Markup(markup)) == plain


def test_tags_in_plain_text_are_meant_literally() -> None:
    assert text.plain(document.Markup("List<String> in Java", html=False)) == "List<String> in Java"


def test_text_is_cut_after_a_whole_word() -> None:
    assert text.shortened("one two three four", 12) == "one two…"
    assert text.shortened("one two", 12) == "one two"
    assert len(text.shortened("x" * 100, 12)) == 12


def test_the_first_sentence_stands_for_a_missing_title() -> None:
    assert text.first_sentence("Short one. Long other.\nNext line.", 80) == "Short one."


def test_a_field_of_megabytes_is_cut_before_it_is_looked_at() -> None:
    assert len(text.plain(document.Markup("word " * 1_000_000))) <= document.FIELD_LENGTH
