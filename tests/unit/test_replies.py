"""Where answers and notifications go."""

import uuid

import pytest

from consumers.coordinator import replies
from tests.unit.play import Play, step


@pytest.mark.parametrize(
    ("client", "word"),
    [("acme", "acme"), ("acme.north", "acme_north"), ("ж" * 255, "ж" * 100), ("客" * 255, "客" * 66)],
)
def test_a_notification_has_a_routing_key_that_amqp_takes(client: str, word: str) -> None:
    told = Play(step("a")).execution._replace(client=client, id=uuid.UUID(int=7))
    key = replies.notification_key(told)
    assert key == f"execution.{word}.{told.id}", "three words, the last one whole"
    assert len(key.encode()) <= 255
