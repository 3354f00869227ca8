"""The instructions that models get, each a file whose first line is its version."""

import functools
import importlib.resources
from typing import NamedTuple


class Prompt(NamedTuple):
    """Instructions, and their name with the version: another text is another version, and is asked anew."""

    name: str
    instructions: str


@functools.cache
def load(name: str) -> Prompt:
    """The prompt of ``prompts/<name>.txt``."""
    folder = importlib.resources.files("consumers.analysis.llm").joinpath("prompts")
    first, _, instructions = folder.joinpath(f"{name}.txt").read_text("utf-8").partition("\n")
    word, _, version = first.partition(" ")
    if word != "version" or not version.isdecimal():
        raise ValueError(f"prompts/{name}.txt begins with {first!r}; its first line must be 'version N'")
    return Prompt(f"{name}/{version}", instructions.strip())
