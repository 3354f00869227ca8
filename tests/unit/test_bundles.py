"""Bundles of events that cannot be used as they are: what is understood counts, nothing else is dropped."""

import json
import uuid
from typing import Any

import pytest

from contracts import bundles, encoding
from contracts.messages import StageCompleted, TaskKey
from contracts.refs import inline


def completed(text: str = "") -> dict[str, Any]:
    key = TaskKey(uuid.uuid4(), 1, "work", 0, 1)
    output = inline(json.dumps({"text": text}, ensure_ascii=False).encode())
    document: dict[str, Any] = json.loads(encoding.encode(StageCompleted(**key._asdict(), worker="w", output=output)))
    return document


def test_events_are_taken_apart_as_they_were_told() -> None:
    event = completed("жук " * 500)
    body = encoding.encode(StageCompleted.model_validate(event))
    ((name, part),) = bundles.unbundle(bundles.bundle([body], []))
    assert (name, json.loads(part)) == ("StageCompleted", json.loads(body))
    assert len(part) <= len(body), "text of any language stays as large as it was"


@pytest.mark.parametrize(
    "changes", [{"version": 2}, {"cancelled": []}, {"completed": "nonsense"}, {"completed": {"0": {}}}]
)
def test_what_is_not_understood_as_a_whole_is_not_taken_apart(changes: dict[str, Any]) -> None:
    document = {"version": 1, "completed": [completed()], "failed": [], **changes}
    assert bundles.unbundle(json.dumps(document).encode()) == []
