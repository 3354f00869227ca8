"""What of a text the eye sees: the rest is where strangers hide what they want machines to read."""

import re
import unicodedata

HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
"""Unicode's categories of control, format (zero width, direction, tags), unassigned, private, surrogate characters."""

_FILLERS = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Variation selectors and letters without a form, which belong to other categories."""


def visible(text: str) -> str:
    """The text in composed form (Unicode's NFC) without what cannot be seen; line breaks and tabs stay."""
    composed = unicodedata.normalize("NFC", text)
    return _FILLERS.sub("", "".join(c for c in composed if c in "\n\t" or unicodedata.category(c) not in HIDDEN))
