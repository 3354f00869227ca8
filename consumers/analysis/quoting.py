"""Which sentences of a news text can be quoted alone, and which are no sentences of the story at all."""

import functools
import importlib.resources
import re

_REFERENCE = re.compile(r"\s*\[[\s\d]*\]")
_DATELINE = re.compile(
    r"^[^()]{2,60}\((?:reuters|ap|afp|dpa|ani|pti|tass|xinhua)\)\s*[-\u2013\u2014:]+\s*", re.IGNORECASE
)
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[^\W\d_]+")
_BOILERPLATE = re.compile(
    r"\b(subscribe|sign up|newsletter|click here|read more|continue reading|cookies?|all rights reserved|vol\.|doi|"
    r"podcast|this episode|my talk|webinar|appeared first on|follow us|enable javascript)\b|https?:|[<>]|"
    r"^(by|from|photo|image|source|author)\b",
    re.IGNORECASE,
)
_CAPITALS = 0.6
"""A sentence with a larger share of capitalised words is a byline, a list of names or a heading."""

_PERSONAL = re.compile(r"\b(i|i'm|i've|i'll|my|me|we|our|us|you|your)\b", re.IGNORECASE)
_LEANING = re.compile(
    r"(none of|however|but|and|so|also|this|these|that|those|it|its|it's|they|them|their|he|she|his|her|here|there|"
    r"then|still|yet|instead|moreover|meanwhile|doch|aber|und|dies\w*|das ist|es|er|sie|mais|cela|il|elle|pero|esto)\b",
    re.IGNORECASE,
)
"""Openings that lean on a sentence before, which a quotation leaves behind."""

_SHORTEST = 40
_LONGEST = 320


def clean(sentence: str) -> str:
    """The sentence on one line without an agency's dateline and bracketed numbers, which would read as citations."""
    found = _DATELINE.sub("", sentence.strip())
    while (shorter := _REFERENCE.sub("", found)) != found:
        found = shorter  # what was taken out may have stood inside another
    return _SPACE.sub(" ", found).strip()


def is_story(sentence: str) -> bool:
    """Whether a sentence tells something, and is neither an invitation nor a byline."""
    words = _WORD.findall(sentence)
    return len(words) >= 4 and not _BOILERPLATE.search(_plain(sentence)) and _capitals(words) <= _CAPITALS


def stands_alone(sentence: str) -> bool:
    """Whether a sentence is understood without the one before it."""
    if not _SHORTEST <= len(sentence) <= _LONGEST or sentence.endswith(("?", "…", "...", ":")):
        return False
    plain = _plain(sentence)
    leans = sentence[:1].islower() or _PERSONAL.search(plain) or _LEANING.match(plain)
    return not leans and is_story(sentence)


def tells_a_consequence(sentence: str) -> bool:
    """Whether a sentence says what follows from something, or why it matters, by the words that such sentences use."""
    return _consequences().search(_plain(sentence)) is not None


@functools.cache
def _consequences() -> re.Pattern[str]:
    content = importlib.resources.files("consumers.analysis").joinpath("data", "consequences.tsv").read_text("utf-8")
    phrases = [phrase for line in content.splitlines()[1:] for phrase in line.split("\t")[1].split(", ")]
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, phrases))})\b", re.IGNORECASE)


def _plain(sentence: str) -> str:
    return sentence.replace("\u2019", "'")


def _capitals(words: list[str]) -> float:
    return sum(word[0].isupper() for word in words) / max(1, len(words))
