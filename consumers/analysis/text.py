"""Words, stems and sentences of a text in any language, by rules simple enough to be the same everywhere."""

import functools
import importlib.resources
import re
from collections.abc import Iterator

IDEOGRAPHS = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))
"""First and last code points of what is written without spaces."""

_CJK = "".join(f"{chr(first)}-{chr(last)}" for first, last in IDEOGRAPHS)
_WORD = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+(?:['\u2019.][^\W_{_CJK}]+)*")
_ALPHABETIC = re.compile(r"[^\W_]+(?:['\u2019.][^\W_]+)*")
_IDEOGRAPHS = re.compile(rf"[{_CJK}]")
_SUFFIXES = (
    ("ies", "y"),
    ("sses", "ss"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("xes", "x"),
    ("ing", ""),
    ("ed", ""),
    ("s", ""),
)
_SHORTEST_STEM = 4

_ABBREVIATIONS = re.compile(
    r"mr|mrs|ms|dr|prof|st|jr|sr|gen|sen|rep|gov|vs|etc|inc|ltd|co|corp|jan|feb|apr|jun|jul|aug|sept?|oct|nov|dec|"
    r"u\.s|u\.k|e\.g|i\.e|a\.m|p\.m|bzw|ca|usw|nr|z\.b|d\.h|mme|[^\W\d_]"
)
_CLOSING = r"[\"\u201d\u2019\u00bb)\]]"
_ENDS = re.compile(
    rf"(?<=[.!?\u2026])\s+|(?<=[.!?\u2026]{_CLOSING})\s+|\n+|(?:^|\s+)[\u2022\u25aa\u25cf]\s*"
    rf"|(?<=[\u3002\uff01\uff1f])(?=[{_CJK}A-Za-z0-9\u300c\u300e\u201c])"
)
_ACRONYM = re.compile(r"\b[A-Z]{2,3}\b")
_LAST_WORD = re.compile(rf"(\S+?)\.{_CLOSING}*$")


@functools.cache
def stopwords() -> frozenset[str]:
    """Words that say nothing of a topic, of the languages that feeds are mostly written in."""
    content = importlib.resources.files("consumers.analysis").joinpath("data", "stopwords.tsv").read_text("utf-8")
    return frozenset(word for line in content.splitlines()[1:] for word in line.split())


def words(text: str) -> list[str]:
    """The words of a text in lower case; runs of ideographs become overlapping pairs of characters."""
    lowered = text.lower()
    if not _IDEOGRAPHS.search(lowered):
        return _ALPHABETIC.findall(lowered)
    found: list[str] = []
    for word in _WORD.findall(lowered):
        if _IDEOGRAPHS.match(word) and len(word) > 2:
            found += [word[start : start + 2] for start in range(len(word) - 1)]
        else:
            found.append(word)
    return found


def stem(word: str) -> str:
    """The word without possessive and the commonest English endings; never shorter than four letters."""
    word = word.removesuffix("'s").removesuffix("\u2019s").replace(".", "")
    for suffix, replacement in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) + len(replacement) >= _SHORTEST_STEM:
            if suffix == "s" and word.endswith(("ss", "us", "is")):
                return word
            return word.removesuffix(suffix) + replacement
    return word


def stems(text: str) -> list[str]:
    """The stems of the words of a text that say something, in their order."""
    return list(filter(None, map(_saying, words(text))))


@functools.lru_cache(maxsize=200_000)
def _saying(word: str) -> str:
    """The stem of a word that says something, nothing for one that does not."""
    letter = len(word) == 1 and word.isascii() and word.isalpha()
    return "" if letter or word in stopwords() else stem(word)


def acronyms(text: str) -> frozenset[str]:
    """The words of two or three capitals in a text; in small letters many of them mean something else."""
    return frozenset(_ACRONYM.findall(text))


def grams(text: str, size: int = 4) -> Iterator[str]:
    """The character n-grams of the words of a text, with their edges marked."""
    for word in words(text):
        padded = f" {word} "
        yield from (padded[start : start + size] for start in range(max(1, len(padded) - size + 1)))


def sentences(text: str) -> list[str]:
    """The sentences of a text in their order; a line break or a bullet always ends one."""
    found: list[str] = []
    joined = ""
    for part in _ENDS.split(text):
        joined = f"{joined} {part}".strip() if joined else part.strip()
        if joined and not _ends_in_abbreviation(joined):
            found.append(joined)
            joined = ""
    return [*found, joined] if joined else found


def _ends_in_abbreviation(sentence: str) -> bool:
    match = _LAST_WORD.search(sentence)
    if match is None:
        return False
    last = match.group(1).lower().lstrip("(\"'\u201c\u2018")
    return _ABBREVIATIONS.fullmatch(last) is not None
