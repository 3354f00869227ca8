"""Ends of tasks told together: what leaves in one message, and that each is told whatever becomes of its neighbours."""

import asyncio
import uuid

import pytest

from consumers.runtime.telling import MOST, Teller
from contracts import bundles, encoding, messages
from contracts.bundles import TasksEnded
from contracts.errors import ErrorClass
from contracts.refs import inline
from contracts.tiers import Tier
from infra import exporter
from infra.publisher import Outgoing


def completed(size: int = 0) -> messages.StageCompleted:
    return messages.StageCompleted(
        execution_id=uuid.uuid4(), epoch=1, step="s", shard=0, attempt=1, worker="w", output=inline(b"x" * size)
    )


def failed() -> messages.StageFailed:
    return messages.StageFailed(
        execution_id=uuid.uuid4(),
        epoch=1,
        step="s",
        shard=0,
        attempt=1,
        worker="w",
        error_class=ErrorClass.TRANSIENT,
        explanation="away",
    )


class Sent:
    """Takes what is published, or refuses it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.messages: list[Outgoing] = []
        self._error = error

    async def publish(self, message: Outgoing) -> None:
        self.messages.append(message)
        if self._error is not None:
            raise self._error

    def events(self) -> list[messages.Message]:
        found: list[messages.Message] = []
        for sent in self.messages:
            message = encoding.decode(sent.type_name, sent.body)
            inside = (*message.completed, *message.failed) if isinstance(message, TasksEnded) else (message,)
            assert sent.headers is None or sent.headers["events"] == len(inside)
            found += inside
        return found


async def told(teller: Teller, *events: messages.TaskMessage, tier: Tier = Tier.BASIC) -> list[BaseException | None]:
    return await asyncio.gather(
        *(teller.tell(tier, event, encoding.encode(event), "trace") for event in events), return_exceptions=True
    )


async def test_a_task_that_ends_alone_is_told_alone_with_its_trace() -> None:
    sent, event = Sent(), completed()
    assert await told(Teller(sent.publish), event) == [None]
    (message,) = sent.messages
    assert (message.type_name, message.traceparent, message.routing_key) == ("StageCompleted", "trace", "event.basic")
    assert sent.events() == [event]


async def test_what_ends_together_names_its_traces_in_order_where_spans_are_made() -> None:
    sent = Sent()
    events = [failed(), completed(), failed(), completed()]
    async with exporter.exporting("test", "http://127.0.0.1:9", 1.0):
        teller = Teller(sent.publish)
        await asyncio.gather(
            *(teller.tell(Tier.BASIC, e, encoding.encode(e), f"trace {i}") for i, e in enumerate(events))
        )
    (message,) = sent.messages
    assert message.headers == {"events": 4, "traceparents": "trace 1,trace 3,trace 0,trace 2"}


async def test_what_ends_together_is_one_message() -> None:
    sent = Sent()
    good, bad = (completed(), completed()), (failed(), failed())
    assert await told(Teller(sent.publish), good[0], bad[0], good[1], bad[1]) == [None] * 4
    (message,) = sent.messages
    ended = encoding.decode(message.type_name, message.body)
    assert ended == TasksEnded(completed=good, failed=bad)


async def test_tiers_do_not_mix() -> None:
    sent = Sent()
    teller = Teller(sent.publish)
    await asyncio.gather(
        told(teller, completed(), completed(), tier=Tier.BASIC), told(teller, completed(), tier=Tier.PREMIUM)
    )
    assert [(m.routing_key, m.type_name) for m in sent.messages] == [
        ("event.basic", "TasksEnded"),
        ("event.premium", "StageCompleted"),
    ]


async def test_progress_is_never_told_later_than_it_comes() -> None:
    sent = Sent()
    key = messages.TaskKey(uuid.uuid4(), 1, "s", 0, 1)
    events = [messages.StageProgress(**key._asdict(), worker="w", fraction=f, note="") for f in (0.1, 0.2)]
    await told(Teller(sent.publish), *events)
    assert [message.type_name for message in sent.messages] == ["StageProgress"] * 2


@pytest.mark.parametrize("size", [0, 3000])
async def test_no_message_is_over_the_limit_and_no_event_is_lost(size: int) -> None:
    sent = Sent()
    events = [completed(size) for _ in range(100)]
    await told(Teller(sent.publish), *events)
    assert max(len(message.body) for message in sent.messages) <= encoding.LIMIT
    assert len(sent.messages) < len(events) / 4
    assert all(message.headers is None or message.headers["events"] <= MOST for message in sent.messages)
    assert sent.events() == events


async def test_all_whose_events_were_in_a_message_learn_that_it_failed() -> None:
    teller = Teller(Sent(ConnectionError("gone")).publish)
    assert [str(error) for error in await told(teller, completed(), completed())] == ["gone"] * 2


def test_a_bundle_is_what_the_contract_says() -> None:
    events = [completed(), completed()]
    other = failed()
    body = bundles.bundle([encoding.encode(event) for event in events], [encoding.encode(other)])
    assert encoding.decode("TasksEnded", body) == TasksEnded(completed=tuple(events), failed=(other,))
