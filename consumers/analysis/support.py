"""How far evidence bears a sentence: its names, its numbers and its meaning."""

import re
from collections.abc import Sequence

import numpy as np

from consumers.analysis import embedding, text
from contracts.analysis import Support

LEAST = 0.50
"""Meaning from which a sentence counts as borne out, if no name and no number is missing: on labelled news 93 % of
headlines reach it with their own article, and 3 % with another on the same subject."""

PASSAGE = 3
"""Sentences of evidence that are compared at once: a summary often joins what stands in two or three."""

_NUMBER = re.compile(r"\d+(?:[.,\u00a0\u202f]\d+)*")
_NAME = re.compile(r"(?<=[^\s.!?:\u201c\"(\[])\s+[\"\u201c(\u2018']?([A-Z\u00c0-\u00de][\w\u2019'.&-]*\w)")
_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_SPELLED = {word: str(number) for number, word in enumerate(_WORDS, start=1)}


def judge(claims: Sequence[str], evidence: Sequence[Sequence[str]], embedder: embedding.Embedder) -> list[Support]:
    """One verdict for each sentence from the texts that it cites."""
    return [_judged(claim, texts, embedder) for claim, texts in zip(claims, evidence, strict=True)]


def _judged(claim: str, texts: Sequence[str], embedder: embedding.Embedder) -> Support:
    held = "\n".join(texts)
    missing = absent(claim, held)
    meaning = 1.0 if quoted(claim, held) else _meaning(claim, texts, embedder)
    total = max(1, len(names(claim)) + len(_numbers(claim)))
    support = round(min(meaning, 1 - len(missing) / total), 4)
    return Support(support=support, supported=not missing and meaning >= LEAST, missing=missing)


def quoted(claim: str, held: str) -> bool:
    """Whether the words of a sentence stand in a text one after the other."""
    words = text.words(claim)
    return bool(words) and f" {' '.join(words)} " in f" {' '.join(text.words(held))} "


def absent(claim: str, held: str) -> tuple[str, ...]:
    """The names and numbers of a sentence that do not stand in what it cites."""
    return (*_missing_names(claim, held), *_missing_numbers(claim, held))


def names(sentence: str) -> tuple[str, ...]:
    """The words of a sentence that are written as names: capitalised, and not at its beginning."""
    return tuple(dict.fromkeys(match.strip("'\u2019.") for match in _NAME.findall(sentence)))


def _missing_names(claim: str, held: str) -> tuple[str, ...]:
    known = {_fold_name(word) for word in re.findall(r"[\w\u2019'.&-]*\w", held)}
    parts = known | {part for word in known for part in word.split("-")}
    return tuple(name for name in names(claim) if _fold_name(name) not in parts and not _composed(name, parts))


def _composed(name: str, known: set[str]) -> bool:
    """Whether each half of a name joined by a hyphen is known by itself."""
    halves = _fold_name(name).split("-")
    return len(halves) > 1 and all(half in known for half in halves)


def _fold_name(word: str) -> str:
    return word.casefold().replace("\u2019", "'").removesuffix("'s").strip("'.").replace(".", "")


def _missing_numbers(claim: str, held: str) -> tuple[str, ...]:
    known = _numbers(held)
    return tuple(sorted(_numbers(claim) - known))


def _numbers(sentence: str) -> set[str]:
    """The numbers of a text in one spelling, small ones written as words included."""
    written = {spelled(number) for number in _NUMBER.findall(sentence)}
    return written | {_SPELLED[word] for word in text.words(sentence) if word in _SPELLED}


def spelled(number: str) -> str:
    """A number without thousands separators; a last group of other than three digits is a fraction."""
    groups = re.split(r"[.,\u00a0\u202f]", number)
    if len(groups) > 1 and len(groups[-1]) != 3:
        whole, fraction = "".join(groups[:-1]), groups[-1].rstrip("0")
        return f"{whole}.{fraction}" if fraction else whole
    return "".join(groups)


def _meaning(claim: str, texts: Sequence[str], embedder: embedding.Embedder) -> float:
    """The larger of two measures: nearness to a passage of the evidence, and the share of words that it holds."""
    passages = [passage for body in texts for passage in _passages(body)]
    stems = set(text.stems(claim))
    if not passages or not stems:
        return 0.0
    vectors = embedding.normalised(embedder.embed([claim, *passages]))
    near = float(np.clip((vectors[1:] @ vectors[0]).max(), 0, 1))
    shared = max(len(stems & set(text.stems(passage))) for passage in passages) / len(stems)
    return max(near, shared)


def _passages(body: str) -> list[str]:
    sentences = text.sentences(body)
    return [" ".join(sentences[start : start + PASSAGE]) for start in range(max(1, len(sentences) - PASSAGE + 1))]
