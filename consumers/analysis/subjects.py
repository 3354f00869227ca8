"""The broad subjects of news: a topic has to beat them to be what a text is about, and they are its categories."""

import functools
import importlib.resources
from typing import NamedTuple


class Subject(NamedTuple):
    """A subject with the category that readers see and words that belong to it."""

    name: str
    category: str
    words: str


@functools.cache
def load() -> tuple[Subject, ...]:
    """Every subject, in the order of the data file."""
    content = importlib.resources.files("consumers.analysis").joinpath("data", "subjects.tsv").read_text("utf-8")
    return tuple(Subject(*line.split("\t")) for line in content.splitlines()[1:])
