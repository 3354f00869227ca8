"""Where the sources of one story give different figures for the same thing."""

import functools
import importlib.resources
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from consumers.analysis import quoting, support, text
from contracts.analysis import Evidence, Told

_SCALES = {
    **dict.fromkeys(("thousand", "tausend", "k"), 1e3),
    **dict.fromkeys(("million", "millions", "millionen", "mio", "m"), 1e6),
    **dict.fromkeys(("billion", "billions", "bn", "milliarden", "mrd"), 1e9),
    **dict.fromkeys(("trillion", "trillions", "billionen"), 1e12),
}
_FIGURE = re.compile(
    r"(?<![\w.,:/-])(?P<sign>US\$|[$€£])?\s?(?P<number>\d{1,3}(?:[,\u00a0\u202f]\d{3})+|\d+(?:[.,]\d+)?)"
    rf"\s?(?P<scale>(?:{'|'.join(_SCALES)})\b\.?)?\s?(?P<percent>%|per ?cent\b|prozent\b)?"
    r"(?P<rest>(?:[\s-]+[^\W\d_]+){1,3})",
    re.IGNORECASE,
)
_SEARCHED = 6
_CONTEXT = 6
"""Words on either side that must share one more than the thing itself, so that the same thing is counted."""

_NEAR, _FAR = 1.03, 10.0
"""Figures closer than 3 % are one rounded differently; those further apart than tenfold count different things."""


class _Figure(NamedTuple):
    """A number of things, as it is written, with the words around it."""

    value: float
    thing: str
    written: str
    around: frozenset[str]


def between(story: Sequence[Evidence]) -> tuple[Told, ...]:
    """A sentence for each thing of which two sites give different figures, the leading article's first."""
    stated = [(evidence, _figures(evidence)) for evidence in story]
    found: dict[str, Told] = {}
    for (one, first), (other, second) in itertools.combinations(stated, 2):
        if one.site == other.site:
            continue
        for figure, against in itertools.product(first, second):
            if _differ(figure, against):
                words = f"Sources differ: {_says(one, figure)}, {_says(other, against)}."
                found.setdefault(figure.thing, Told(text=words, evidence=(one.id, other.id)))
    return tuple(found.values())


@functools.cache
def _measures() -> frozenset[str]:
    """Words after a number that make it a date, a time or an age, which differ without contradiction."""
    content = importlib.resources.files("consumers.analysis").joinpath("data", "measures.tsv").read_text("utf-8")
    return frozenset(word for line in content.splitlines()[1:] for word in line.split())


def _says(evidence: Evidence, figure: _Figure) -> str:
    return f"{quoting.clean(evidence.source)} has “{figure.written}”"


def _differ(one: _Figure, other: _Figure) -> bool:
    if one.thing != other.thing or not one.around & other.around - {one.thing}:
        return False
    low, high = sorted((one.value, other.value))
    return low > 0 and _NEAR <= high / low <= _FAR


def _figures(evidence: Evidence) -> list[_Figure]:
    """The figures at the beginning of a text, but for things of which it gives several."""
    found: dict[str, list[_Figure]] = {}
    for sentence in (evidence.title, *text.sentences(evidence.text)[:_SEARCHED]):
        for figure in _read(sentence):
            found.setdefault(figure.thing, []).append(figure)
    return [each[0] for each in found.values() if len({figure.value for figure in each}) == 1]


def _read(sentence: str) -> Iterator[_Figure]:
    for match in _FIGURE.finditer(sentence):
        following = text.words(match["rest"])
        things = [word for word in following if word not in text.stopwords()]
        if not things or not {following[0], things[0]}.isdisjoint(_measures()):
            continue
        number = float(support.spelled(match["number"]))
        scale = _SCALES.get((match["scale"] or "").rstrip(".").casefold(), 1.0)
        kind = match["sign"] or ("%" if match["percent"] else "")
        before = text.stems(sentence[: match.start()])[-_CONTEXT:]
        after = text.stems(sentence[match.start("rest") :])[:_CONTEXT]
        yield _Figure(number * scale, f"{kind}{text.stem(things[0])}", match[0].strip(), frozenset((*before, *after)))
