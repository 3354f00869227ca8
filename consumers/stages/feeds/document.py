"""What a feed says, whatever its format: the values that the format readers produce."""

import dataclasses
import datetime

FIELD_LENGTH = 200_000
"""Characters of one field that are looked at, so that no later step meets a field of megabytes."""


@dataclasses.dataclass(frozen=True)
class Markup:
    """A text of a feed; ``html`` tells whether its tags and entities are markup or meant literally."""

    value: str
    html: bool = True


EMPTY = Markup("", html=False)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry as the feed has it; links are absolute but not yet canonical."""

    guid: str = ""
    link: str = ""
    title: Markup = EMPTY
    bodies: tuple[Markup, ...] = ()
    published: datetime.datetime | None = None
    updated: datetime.datetime | None = None
    language: str = ""
    authors: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Feed:
    """A feed with all its entries in their order, and what was wrong with it."""

    format: str
    title: Markup = EMPTY
    home: str = ""
    language: str = ""
    entries: tuple[Entry, ...] = ()
    problems: tuple[str, ...] = ()
