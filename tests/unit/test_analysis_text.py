"""Words, stems and sentences in several languages."""

import pytest

from consumers.analysis import text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("It rained. It stopped.", ["It rained.", "It stopped."]),
        ("Dr. Weber met U.S. officials. They agreed.", ["Dr. Weber met U.S. officials.", "They agreed."]),
        ("Growth was 3.5 percent. Prices rose!", ["Growth was 3.5 percent.", "Prices rose!"]),
        ('He said: "We stay." Then he left.', ['He said: "We stay."', "Then he left."]),
        ("Das gilt z.B. für Kohle. Mehr dazu später.", ["Das gilt z.B. für Kohle.", "Mehr dazu später."]),
        ("今日は雨です。明日は晴れます。", ["今日は雨です。", "明日は晴れます。"]),
        ("First line\nSecond line", ["First line", "Second line"]),
        ("• One thing • Another thing", ["One thing", "Another thing"]),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_sees_their_end(body: str, expected: list[str]) -> None:
    assert text.sentences(body) == expected


def test_no_sentence_is_invented_or_lost() -> None:
    body = 'A. Smith paid $3.50. "Why?" asked Ms. Lee... Nobody knew! The end'
    assert " ".join(text.sentences(body)) == body


@pytest.mark.parametrize(("one", "other"), [("batteries", "battery"), ("turbines", "turbine"), ("cities", "city")])
def test_plurals_share_the_stem_of_the_singular(one: str, other: str) -> None:
    assert text.stem(one) == text.stem(other)


def test_stems_leave_out_what_says_nothing() -> None:
    assert text.stems("The price of a barrel und der Preis") == ["price", "barrel", "preis"]


def test_ideographs_are_read_as_pairs() -> None:
    assert text.words("人工知能 AI") == ["人工", "工知", "知能", "ai"]


def test_acronyms_are_told_from_small_words() -> None:
    assert text.acronyms("The EU and its AI act; ai is Italian for at the") == {"EU", "AI"}
