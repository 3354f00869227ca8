"""The names under which a model sees texts, so that it can refer to them."""

import hashlib
from collections.abc import Iterable, Sequence

CHARACTERS = 8
TOPIC = "topic"


def of(texts: Sequence[str]) -> list[str]:
    """A label for each text, from its place and its words: no text can hold its own label or guess another's."""
    return [hashlib.sha256(f"{index}\0{body}".encode()).hexdigest()[:CHARACTERS] for index, body in enumerate(texts)]


def unknown(given: Iterable[str], known: Iterable[str]) -> list[str]:
    """What is wrong with labels that an answer uses."""
    strange = set(given).difference(known)
    return ["it names labels that no block has; use only the labels of the blocks."] if strange else []
