"""What a requeued message carries so that it counts as it did before: the letter that it was, and its first sender."""

from collections.abc import Mapping

from contracts.messages import Json
from infra import dead_letters
from infra.delivery import Delivery

SENDER = "sender"
"""The header that holds the broker user who published the message first; empty if it named none."""

OURS = frozenset(
    {
        *("user_id", "reply_to", "correlation_id", "reason", "explanation", "queue"),
        *("message_id", "worker", "traceparent"),
    }
)
"""What letters keep among their headers that were none, or that a requeued message gets anew."""


def headers(letter: int, kept: Mapping[str, Json]) -> dict[str, Json]:
    """The headers of the message that a letter becomes; the broker's own are left to the broker."""
    known = {name: value for name, value in kept.items() if value is not None and name not in OURS}
    told = {name: value for name, value in known.items() if not name.startswith("x-")}
    user = kept.get("user_id")
    return {**told, dead_letters.MARK: letter, SENDER: user if isinstance(user, str) else ""}


def letter(delivery: Delivery) -> int | None:
    """The dead letter that a delivery was before it was requeued."""
    found = delivery.headers.get(dead_letters.MARK)
    return found if isinstance(found, int) else None


def restored(delivery: Delivery, user: str) -> Delivery:
    """The delivery with its first sender, if it was requeued; ``user`` is the broker user of all coordinators.

    Requeueing lends nobody the rights of a coordinator. A mark that no coordinator made is taken off, so that nobody
    speaks for a letter in which others put their trust.
    """
    if letter(delivery) is None:
        return delivery
    sender = delivery.headers.get(SENDER)
    if delivery.user_id == user and isinstance(sender, str):
        return delivery._replace(user_id=sender or None)
    unmarked = {name: value for name, value in delivery.headers.items() if name != dead_letters.MARK}
    return delivery._replace(headers=unmarked)
