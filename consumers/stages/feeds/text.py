"""Clean text out of the markup that feeds carry."""

import hashlib
import html
import re
import unicodedata

import nh3

from consumers.stages.feeds import document

# Tags that end a line when a page is shown; without them the words on both sides would run together.
_BLOCK = re.compile(
    r"</?(?:address|article|aside|blockquote|br|dd|div|dl|dt|fieldset|figcaption|figure|footer|form|h[1-6]|header|hr|li|main"
    r"|nav|ol|p|pre|section|table|tbody|td|tfoot|th|thead|tr|ul)\b",
    re.IGNORECASE,
)
_TAG = re.compile(r"</?(?:a|b|br|div|em|h[1-6]|i|img|li|p|span|strong|ul)\b[^<>]{0,1000}>", re.IGNORECASE)
_SPACE = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n[\n ]*")
_DROPPED = frozenset({"script", "style", "template", "noscript", "iframe", "object", "svg", "math", "audio", "video"})
_SENTENCE = re.compile(r"(?<=[.!?])\s|(?<=[\u3002\uff01\uff1f])")
# Control and format characters can reorder or hide text in a report, and private ones have no shape. Joiners stay: some
# scripts and emoji need them.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    r"\ufff9-\ufffb\ue000-\uf8ff\U000e0000-\U000e007f\U000f0000-\U0010ffff]"
)
_MISREAD = re.compile(r"[\xc2-\xf4][\x80-\xbf\u0152-\u0192\u02c6\u02dc\u2013-\u2122]")
_WORD = re.compile(r"\w+")
_BREAK = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")


def plain(markup: document.Markup) -> str:
    """The text of a field: no tags, no entities, no control characters, one line for each paragraph."""
    value = repaired(markup.value[: document.FIELD_LENGTH])
    return _tidy(_stripped(value) if markup.html else html.unescape(value))


def looks_like_html(value: str) -> bool:
    """Whether a text that is declared as plain has the tags of a page in it."""
    return bool(_TAG.search(value[: document.FIELD_LENGTH]))


def line(markup: document.Markup, length: int) -> str:
    """The same on a single line of at most so many characters."""
    return shortened(plain(markup).replace("\n", " "), length)


def shortened(value: str, length: int) -> str:
    """The text cut after a whole word, with an ellipsis, if it is longer than that."""
    if len(value) <= length:
        return value
    head = value[: length - 1]
    cut = max(head.rfind(" "), head.rfind("\n"))
    return (head[:cut] if cut > length // 2 else head).rstrip() + "…"


def first_sentence(value: str, length: int) -> str:
    """The beginning of a text up to the end of its first sentence or line."""
    return shortened(_SENTENCE.split(value.split("\n", 1)[0], maxsplit=1)[0], length)


def fingerprint(title: str, text: str) -> str:
    """The same for the same words in the same order, whatever their spacing, case, punctuation and form of Unicode."""
    words = _WORD.findall(unicodedata.normalize("NFKC", f"{title}\n{text}").casefold())
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:32]


def repaired(value: str) -> str:
    """The same text without halves of surrogate pairs, which no encoding can carry, and decoded once if it was not.

    Text whose UTF-8 bytes were taken for Windows-1252 is common, and turning it back succeeds for nothing else.
    """
    value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if not _MISREAD.search(value):
        return value
    try:
        return b"".join(_byte(character) for character in value).decode()
    except UnicodeError:
        return value


def _byte(character: str) -> bytes:
    # Windows-1252 leaves five bytes without a character, and those who misread give them the control of that number.
    return character.encode("latin-1" if "\x80" <= character <= "\x9f" else "cp1252")


def _stripped(value: str) -> str:
    text = html.unescape(_without_tags(value))
    # A field that had no tag at all and shows some after decoding was escaped twice.
    if "<" not in value and _TAG.search(text):
        text = html.unescape(_without_tags(text))
    return text


def _without_tags(value: str) -> str:
    if "<" not in value:
        return value
    return nh3.clean(_BLOCK.sub(r"\n\g<0>", value), tags=set(), clean_content_tags=set(_DROPPED), attributes={})


def _tidy(value: str) -> str:
    seen = _UNSEEN.sub("", _BREAK.sub("\n", value))
    return _LINES.sub("\n", _SPACE.sub(" ", unicodedata.normalize("NFC", seen))).strip()
