"""Words, stems and sentences of a text in any language, by rules simple enough to be the same everywhere."""

import functools
import re
from collections.abc import Iterator

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+(?:['’.][^\W_{_CJK}]+)*")
_IDEOGRAPHS = re.compile(rf"[{_CJK}]")
_SUFFIXES = (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""))
_SHORTEST_STEM = 4

STOPWORDS = frozenset(
    """
    a about above after again against all also am an and any are as at be because been before being below between both
    but by can could did do does doing down during each few for from further had has have having he her here hers him
    his how i if in into is it its itself just me more most my new no nor not now of off on once one only or other our
    out over own said say says she should so some such than that the their them then there these they this those through
    to too two under until up us very was we were what when where which while who whom why will with would you your
    get got make made may might many much like even still since year years day days time week today yesterday
    der die das und in den von zu mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er hat dass
    sie nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder aber vor zur bis mehr durch
    man sein wurde wir ich ihr ihre kann beim wenn was dieser diese
    le la les des du un une et en est que qui dans pour pas sur au aux avec par plus ce cette ces sont ont il elle ils
    nous vous leur mais ou se sa son ses été être fait comme tout
    el los las del y una que con por para su sus más se lo como pero fue ha al este esta sobre también entre cuando muy
    sin ya hay desde o e di che il della dei per non si gli nel alla da anche sono com não uma os das dos na ao é
    het een van de dat op te zijn voor met och att som på är av ett har till inte om sig
    и в не на что с по как из за от к он это для но его то о у же был она так мы было до или
    """.split()
)
"""Words that say nothing of a topic, of the languages that feeds are mostly written in."""

_ABBREVIATIONS = frozenset(
    """mr mrs ms dr prof st jr sr gen sen rep gov vs no etc inc ltd co corp jan feb mar apr jun jul aug sep sept oct nov
    dec u.s u.k e.g i.e a.m p.m bzw ca usw nr z.b d.h m. mme""".split()
)
_ENDS = re.compile(rf"(?<=[.!?…])[\"”’»)\]]*\s+|(?<=[。！？])(?=[{_CJK}A-Za-z0-9「『“])|\n+")
_ACRONYM = re.compile(r"\b[A-Z]{2,3}\b")
_LAST_WORD = re.compile(r"(\S+?)\.[\"”’»)\]]*$")


def words(text: str) -> list[str]:
    """The words of a text in lower case; runs of ideographs become overlapping pairs of characters."""
    found: list[str] = []
    for word in _WORD.findall(text.lower()):
        if _IDEOGRAPHS.match(word) and len(word) > 2:
            found += [word[start : start + 2] for start in range(len(word) - 1)]
        else:
            found.append(word)
    return found


@functools.lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """The word without possessive and the commonest English endings; never shorter than four letters."""
    word = word.removesuffix("'s").removesuffix("’s").replace(".", "")
    for suffix, replacement in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) + len(replacement) >= _SHORTEST_STEM:
            if suffix == "s" and word.endswith(("ss", "us", "is")):
                return word
            return word.removesuffix(suffix) + replacement
    return word


def stems(text: str) -> list[str]:
    """The stems of the words of a text that say something, in their order."""
    return [stem(word) for word in words(text) if word not in STOPWORDS and (len(word) > 1 or not _is_letter(word))]


def _is_letter(word: str) -> bool:
    return word.isascii() and word.isalpha()


def acronyms(text: str) -> frozenset[str]:
    """The words of two or three capitals in a text; in small letters many of them mean something else."""
    return frozenset(_ACRONYM.findall(text))


def grams(text: str, size: int = 4) -> Iterator[str]:
    """The character n-grams of the words of a text, with their edges marked."""
    for word in words(text):
        padded = f" {word} "
        yield from (padded[start : start + size] for start in range(max(1, len(padded) - size + 1)))


def sentences(text: str) -> list[str]:
    """The sentences of a text in their order; a line break always ends one."""
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
    last = match.group(1).lower().lstrip("(\"'“‘")
    return last in _ABBREVIATIONS or (len(last) == 1 and last.isalpha())
