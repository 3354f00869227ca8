"""What is known of a page after a request, as functions of what was known and of what came."""

import dataclasses
import datetime
import hashlib
from collections.abc import Collection

from contracts import errors, stages
from infra import feed_states, fetch, freshness, pages

PAGE_SECONDS = feed_states.DAY
"""For which a page that is no feed is not asked for again; RFC 9309, section 2.4, allows no more for robots.txt."""

ERROR_LENGTH = 500


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """``least`` seconds pass between two requests, and more for a ``feed`` that cannot be asked on a condition; a
    failure is waited out, unless ``patient`` is False; and the page may be asked for at another address from now on,
    unless ``movable`` is False."""

    least: float
    feed: bool = True
    patient: bool = True
    movable: bool = True


def read(
    kept: pages.Kept, page: stages.Page, entries: Collection[str], newest: datetime.datetime | None, bounds: Bounds
) -> pages.Answer:
    """After the page was had and read; ``newest`` is the date of the newest of its entries."""
    listing = hashlib.sha256("\n".join(sorted(entries)).encode("utf-8", "replace")).digest()
    renewed = None if listing == kept.listing else kept.now
    if kept.listing is None:
        renewed = newest or kept.now
    facts = feed_states.succeeded(kept.facts, kept.now, renewed=renewed)
    state = feed_states.state(facts, kept.now)
    etag, modified = _sendable(page, "etag"), _sendable(page, "last-modified")
    lifetime = freshness.lifetime(page.headers, kept.now)
    address, moved_to, seen = whereabouts(kept, page, movable=bounds.movable)
    return pages.Answer(
        address=address,
        moved_to=moved_to,
        moved_seen=seen,
        final_url=page.url,
        etag=etag,
        last_modified=modified,
        content_type=_sendable(page, "content-type"),
        size=len(page.body),
        received=kept.received if page.origin == "unchanged" else page.received,
        rest=feed_states.interval(state, lifetime, bounds.least, conditional=bool(etag or modified) or not bounds.feed),
        state=state,
        facts=facts,
        error="",
        listing=listing,
    )


def failed(kept: pages.Kept, error: errors.StageError, fault: feed_states.Fault, bounds: Bounds,
           chance: float) -> pages.Answer:  # fmt: skip
    """After the page could not be had or read; ``chance`` lies in [0, 1)."""
    facts = feed_states.failed(kept.facts, fault, kept.now)
    return pages.Answer(
        # A new address that keeps failing was no good one.
        address=kept.address if facts.failures < feed_states.SOME else kept.url,
        moved_to=kept.moved_to,
        moved_seen=kept.moved_seen,
        final_url=kept.final_url,
        etag=kept.etag,
        last_modified=kept.last_modified,
        content_type=kept.content_type,
        size=kept.size,
        received=kept.received,
        rest=_pause(facts, kept, bounds, chance),
        state=feed_states.state(facts, kept.now),
        facts=facts,
        error=fetch.shown(error)[:ERROR_LENGTH],
        listing=kept.listing,
    )


def _pause(facts: feed_states.Facts, kept: pages.Kept, bounds: Bounds, chance: float) -> float:
    if not bounds.patient:
        return 0.0
    # That a site has no such page is an answer, and lasts as long as any other.
    lasting = not bounds.feed and facts.fault in ("gone", "missing")
    return bounds.least if lasting else feed_states.pause(facts, kept.now, chance)


def whereabouts(kept: pages.Kept, page: stages.Page, *, movable: bool) -> tuple[str, str, int]:
    """Where the page is asked for next time, where else a permanent redirect points, and how often it was seen.

    A redirect counts when all hops are permanent, it was seen twice, and what it led to was read; never to http from
    https, nor where ``movable`` is False.
    """
    downgrade = kept.address.startswith("https:") and not page.url.startswith("https:")
    if not page.moved or downgrade or not movable:
        return kept.address, "", 0
    seen = kept.moved_seen + 1 if page.url == kept.moved_to else 1
    return (page.url, "", 0) if seen >= feed_states.MOVES else (kept.address, page.url, seen)


def fault(error: errors.StageError) -> feed_states.Fault:
    """What a failed request says of the page."""
    if error.details.get("status") == "410":
        return "gone"
    if error.details.get("status") == "404" or error.details.get("reason") == fetch.NO_HOST:
        return "missing"
    return "failing"


def _sendable(page: stages.Page, name: str) -> str:
    """A header as it came; none if it holds bytes that no request could give back as they were, nor a table keep."""
    value = page.headers.get(name, "")
    try:
        value.encode()
    except UnicodeEncodeError:
        return ""
    return value
