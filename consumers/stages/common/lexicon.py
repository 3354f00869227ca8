"""The project's lexicon of common topics: other names of each, and words that belong to it."""

import difflib
import functools
import importlib.resources
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from contracts import analysis

_SPLIT = re.compile(r"\s*(?:,|/|&|\+|\band\b|\bund\b|\bet\b|\by\b|\bor\b)\s*")
_ALIKE = 0.84
"""How alike a phrase and a name must be for the one to count as a misspelling of the other."""

_SHORTEST_MISSPELT = 6
_SHORTEST_INSIDE = 4
_WORDS_OF_PART = 8


class Entry(NamedTuple):
    """A topic; ``kind`` says which questions suit it."""

    topic: str
    kind: str
    names: tuple[str, ...]
    words: tuple[str, ...]


class Match(NamedTuple):
    """The entries that a phrase leads to; ``exact`` if it names exactly one, perhaps misspelt."""

    entries: tuple[Entry, ...]
    exact: bool


@functools.cache
def load() -> tuple[Entry, ...]:
    """Every entry of the lexicon, in its order."""
    content = importlib.resources.files("consumers.stages").joinpath("data", "lexicon.tsv").read_text("utf-8")
    entries = []
    for line in content.splitlines()[1:]:
        topic, kind, names, words = line.split("\t")
        entries.append(Entry(topic, kind, tuple(filter(None, names.split("; "))), tuple(words.split(", "))))
    return tuple(entries)


@functools.cache
def _by_name() -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for entry in load():
        for name in (entry.topic, *entry.names):
            found.setdefault(fold(name), entry)
    return found


def fold(phrase: str) -> str:
    """The phrase without case, accents, hyphens and spare spaces."""
    plain = unicodedata.normalize("NFKD", phrase.casefold())
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(letters.replace("-", " ").split())


def find(phrase: str) -> Match:
    """The entries for a phrase: the one it names, else those its parts name, else those named inside it."""
    names = _by_name()
    wanted = fold(phrase)
    exact = names.get(wanted) or names.get(wanted.removeprefix("the ")) or _misspelt(wanted)
    if exact:
        return Match((exact,), exact=True)
    parts = [part for part in _SPLIT.split(wanted) if part]
    if len(parts) > 1:
        found = [names.get(part) or _misspelt(part) for part in parts]
        if all(found):
            return Match(tuple(dict.fromkeys(entry for entry in found if entry)), exact=False)
    return Match(_inside(wanted), exact=False)


def _misspelt(wanted: str) -> Entry | None:
    if len(wanted) < _SHORTEST_MISSPELT:
        return None
    # People seldom mistype how a word begins, and many words differ only there.
    names = [name for name in _by_name() if name[:2] == wanted[:2]]
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=_ALIKE)
    return _by_name()[close[0]] if close else None


def _inside(wanted: str) -> tuple[Entry, ...]:
    tokens = wanted.split()
    found: dict[Entry, None] = {}
    for size in range(len(tokens) - 1, 0, -1):
        for start in range(len(tokens) - size + 1):
            name = " ".join(tokens[start : start + size])
            entry = _by_name().get(name)
            if entry and (len(name) >= _SHORTEST_INSIDE or name in ("ai", "eu", "uk")):
                found.setdefault(entry)
    return tuple(found)[:2]


def topic(phrase: str, further: Sequence[str] = ()) -> analysis.Topic:
    """The topic behind a phrase, with the words and names that the lexicon knows, and any further words."""
    match = find(phrase)
    if match.exact:
        entry = match.entries[0]
        words = dict.fromkeys((*entry.words, *further))
        return analysis.Topic(
            phrase=entry.topic, words=tuple(words), names=tuple(dict.fromkeys((phrase, *entry.names)))
        )
    words = dict.fromkeys(word for entry in match.entries for word in entry.words[:_WORDS_OF_PART])
    compound = len(match.entries) > 1 and bool(_SPLIT.search(fold(phrase)))
    names = tuple(dict.fromkeys(name for entry in match.entries for name in (entry.topic, *entry.names[:4])))
    return analysis.Topic(
        phrase=phrase, words=tuple(dict.fromkeys((*words, *further))), names=names if compound else ()
    )


def subject(phrase: str) -> str:
    """One name for all phrases that mean the same topic, by which the client's reports on it are found again."""
    match = find(phrase)
    return fold(match.entries[0].topic if match.exact else phrase)


def kind(phrase: str) -> str:
    """The kind of topic that a phrase names, such as ``technology`` or ``health``; ``general`` if unknown."""
    entries = find(phrase).entries
    return entries[0].kind if entries else "general"
