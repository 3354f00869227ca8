"""Articles out of a feed's entries: clean, dated, and with identities that last."""

import datetime
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Literal

from consumers.stages.feeds import dates, document, language, text, urls
from contracts import artifacts

TITLE_LENGTH = 300
TEXT_LENGTH = 40_000
AUTHOR_LENGTH = 100
SAMPLE_ENTRIES = 20

_GLOBAL = re.compile(r"(?:tag|urn|doi|info):\S", re.IGNORECASE)

DateSource = Literal["published", "updated", "text", "url", "none"]


def ranked(entries: Sequence[document.Entry], now: datetime.datetime) -> list[int]:
    """The places of the entries, the newest first where all of them have a date, otherwise in the feed's order."""
    moments = [moment for entry in entries if (moment := _declared(entry, now)[0]) is not None]
    places = list(range(len(entries)))
    if len(moments) < len(entries):
        return places
    return sorted(places, key=lambda place: moments[place], reverse=True)


def sample(feed: document.Feed) -> str:
    """Text from the first entries, enough to tell the feed's language by."""
    parts: list[str] = []
    for entry in feed.entries[:SAMPLE_ENTRIES]:
        bodies = (document.Markup(body.value[: language.SAMPLE], body.html) for body in entry.bodies[:1])
        parts += [text.plain(part) for part in (entry.title, *bodies)]
        if sum(map(len, parts)) > language.SAMPLE:
            break
    return "\n".join(parts)


def build(entry: document.Entry, feed: artifacts.ArticleSet, base: str, home: str,
          now: datetime.datetime) -> artifacts.Article | None:  # fmt: skip
    """The article of an entry, or None if it has neither title nor text.

    ``feed`` is the set that the article will belong to, ``base`` the address that links are relative to, ``home`` the
    feed's own page.
    """
    body = text.shortened(max((text.plain(markup) for markup in entry.bodies), key=len, default=""), TEXT_LENGTH)
    title = text.line(entry.title, TITLE_LENGTH) or text.first_sentence(body, TITLE_LENGTH // 3)
    if not title:
        return None
    address = urls.canonical(entry.link, base) if entry.link else ""
    published, source = _date(entry, title, body, address, now)
    return artifacts.Article(
        id=identity(entry.guid, address, f"{title}\n{body[:500]}", feed.source_url, home),
        url=address,
        title=title,
        text=body,
        language=language.of_article(entry.language, body, feed.language),
        published=published,
        published_from=source,
        authors=_people(entry.authors),
        source_url=feed.source_url,
        source_title=feed.source_title,
        site=urls.host(home) or urls.host(feed.source_url),
        fingerprint=text.fingerprint(title, body),
    )


def identity(guid: str, address: str, content: str, feed: str, home: str) -> str:
    """An id that is the same whenever the same entry is read again, and in whichever feed where its name is global.

    The publisher's own name for the entry comes first, because several entries may link to one page, and then the page.
    An entry without either, or that names only the feed's home page, is known by the feed and its content.
    """
    permanent = urls.canonical(guid) if guid.startswith(("http://", "https://")) else ""
    homes = {home, urls.site(home), urls.site(address), feed, ""}
    if permanent not in homes:
        name = f"url {permanent}"
    elif guid and not permanent:
        name = f"guid {guid}" if _GLOBAL.match(guid) else f"guid {feed} {guid}"
    elif address not in homes:
        name = f"url {address}"
    else:
        name = f"content {feed} {content}"
    return hashlib.sha256(text.repaired(name).encode()).hexdigest()


def _declared(entry: document.Entry, now: datetime.datetime) -> tuple[datetime.datetime | None, DateSource]:
    if dates.plausible(entry.published, now):
        return entry.published, "published"
    if dates.plausible(entry.updated, now):
        return entry.updated, "updated"
    return None, "none"


def _date(entry: document.Entry, title: str, body: str, address: str,
          now: datetime.datetime) -> tuple[datetime.datetime | None, DateSource]:  # fmt: skip
    moment, source = _declared(entry, now)
    if moment is not None:
        return moment, source
    # An address is made when the article is, whereas a text may speak of another day.
    if dates.plausible(found := dates.in_url(address), now):
        return found, "url"
    if dates.plausible(found := dates.in_text(title, body), now):
        return found, "text"
    return None, "none"


def _people(names: Iterable[str]) -> tuple[str, ...]:
    lines = (text.line(document.Markup(name), AUTHOR_LENGTH) for name in names)
    return tuple(line for line in lines if line)
