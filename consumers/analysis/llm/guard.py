"""What may not stand in a sentence that a model wrote: a feed may have told it to write anything."""

import re
import unicodedata
from collections.abc import Sequence

from consumers.analysis import support, text
from contracts.visible import HIDDEN

LONGEST_SENTENCE = 400
LONGEST_TITLE = 160
LONGEST_WORD = 45

GROUNDED = 0.4
"""Of the words of a sentence that say something, the share that its evidence has as well. A paraphrase keeps names and
most nouns; what shares less says something else. Names and numbers must all be there."""

_ADDRESS = re.compile(
    r"(?i)://|\b(?:https?|javascript|vbscript|mailto)\s*:|\bdata:\w+/|\bwww\s*\.|//\w|\S@\S"
    r"|\b[\w-]+\.(?:com|net|org|io|info|biz|xyz|top|site|online|shop|app|dev|ai|co|me|ly|gg|to|tv|ru|cn|de|uk|eu|example)\b"
)
_MARKUP = re.compile(r"[<>\[\]{}`|\\]|\*\*|__|&#?\w+;|^\s*(?:#|[-*+] |\d+\. )|\n|\r")
_LETTERS = re.compile(r"[^\W\d_]+")
_LOOKALIKES = ("LATIN", "CYRILLIC", "GREEK", "CHEROKEE", "ARMENIAN")


def problems(sentence: str, longest: int = LONGEST_SENTENCE) -> list[str]:
    """Why a text cannot stand in a report, whatever it says."""
    found = []
    if not sentence.strip():
        found.append("a text is empty.")
    if len(sentence) > longest:
        found.append(f"a text has {len(sentence)} characters; {longest} are allowed.")
    if _ADDRESS.search(sentence):
        found.append("a text holds an address of a page or a person; name the site or person in words.")
    if _MARKUP.search(sentence):
        found.append("a text holds markup, brackets or line breaks; write plain sentences.")
    if any(unicodedata.category(c) in HIDDEN for c in sentence):
        found.append("a text holds characters that cannot be seen.")
    if any(len(word) > LONGEST_WORD for word in sentence.split()) or any(map(_mixed, _LETTERS.findall(sentence))):
        found.append("a text holds a word that is none: too long, or of letters of several scripts.")
    return found


def _mixed(word: str) -> bool:
    scripts = {unicodedata.name(c, "?").partition(" ")[0] for c in word}
    return len(scripts.intersection(_LOOKALIKES)) > 1


def ungrounded(sentence: str, evidence: Sequence[str]) -> list[str]:
    """Why the evidence does not bear a sentence, as far as names, numbers and words show."""
    held = "\n".join(evidence)
    if support.absent(sentence, held):
        return ["a sentence has a name or a number that is not in the evidence named for it."]
    if support.quoted(sentence, held):
        return []
    said = _telling(sentence)
    if len(said & _telling(held)) < GROUNDED * len(said):
        return ["a sentence says what the evidence named for it does not say; keep close to its words."]
    return []


def _telling(body: str) -> set[str]:
    return {stem for stem in text.stems(body) if not stem.isdecimal()}
