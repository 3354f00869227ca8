"""Dead letters and operations over them in the database: what is kept, what is chosen, and how quickly."""

import asyncio
import json
import time
import uuid
from typing import Any

import pytest

from contracts.errors import ErrorClass, Reason
from contracts.states import StepStatus
from infra import database, dead_letters, dead_operations, executions, outbox
from infra.dead_letters import DeadMessage
from infra.dead_operations import Order
from tests.factories import Factory
from tests.integration.rows import document, row, submit

MANY = 10_000


def message(body: bytes, queue: str = "jobs.basic", **fields: Any) -> DeadMessage:
    values = {
        "reason": Reason.INVALID_MESSAGE,
        "explanation": "no good",
        "queue": queue,
        "exchange": "factory.jobs",
        "routing_key": "job.basic",
        "message_type": "SubmitJob",
        "message_id": uuid.uuid4().hex,
        "headers": {},
        "body": body,
        **fields,
    }
    return DeadMessage(**values)


async def all_letters(connection: database.Connection) -> list[dead_letters.Contents]:
    return await dead_letters.contents(connection, {})

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_a_message_is_kept_with_what_it_says_of_itself(tables: Factory) -> None:
    (execution,) = await submit(tables)
    event = {
        "version": 9, "execution_id": str(execution), "epoch": 3, "step": "a", "attempt": 2, "shard": 0,
        "output": document().model_dump(mode="json"), "worker": {"new": ["in", "version", 9]},
    }  # fmt: skip
    job = {"client": "acme", "template": "plain", "parameters": {"feeds": document("feeds").model_dump(mode="json")}}
    async with tables.pool.acquire() as connection:
        await executions.insert_steps(connection, [row(execution)])
        headers = {"traceparent": TRACE, "odd": "a\0b", "weird": float("nan")}
        await dead_letters.add_message(connection, message(json.dumps(event).encode(), "events.basic", headers=headers))
        broken = {"traceparent": f"{TRACE}\n{'x' * 9000}"}
        await dead_letters.add_message(connection, message(json.dumps(job).encode(), "jobs.premium", headers=broken))
        told, asked = await all_letters(connection)
    assert (told.execution_id, told.epoch, told.step, told.shard, told.attempt) == (execution, 3, "a", 0, 2)
    assert (told.client, told.template, told.tier, told.stage) == ("acme", "plain", "basic", "work")
    assert told.traceparent == TRACE
    assert asked.traceparent is None, "what is no traceparent is none"
    assert told.headers["odd"] == "a\N{REPLACEMENT CHARACTER}b"
    assert [ref["uri"] for ref in told.refs] == ["s3://documents/d"]
    assert (asked.client, asked.template, asked.tier) == ("acme", "plain", "premium")
    assert [ref["uri"] for ref in asked.refs] == ["s3://documents/feeds"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"client": "a\\u0000b", "execution_id": "none", "attempt": 99999999999999999999, "shard": true}',
        b'{"client": "\\ud800", "template": ["x"], "context": 7, "epoch": -1, "step": {"uri": 1}}',
        b'{"client": "' + b"x" * 5000 + b'", "attempt": 1e400}',
        b'{"a": ' * 500 + b"1" + b"}" * 500,
    ],
)
async def test_whatever_a_body_holds_it_is_kept(tables: Factory, body: bytes) -> None:
    async with tables.pool.acquire() as connection:
        await dead_letters.add_message(connection, message(body, "stage.work.basic"))
        (kept,) = await all_letters(connection)
        assert (kept.body, kept.stage, kept.tier) == (body, "work", "basic")


async def test_the_same_message_is_one_letter_and_without_an_id_it_may_come_again(tables: Factory) -> None:
    known, unknown = message(b"{}", message_id="m1"), message(b"[]", message_id=None)
    async with tables.pool.acquire() as connection:
        for dead in (known, unknown, known, unknown):
            await dead_letters.add_message(connection, dead)
        assert [letter.status for letter in await all_letters(connection)] == ["open", "open"]
        for letter in (1, 2):
            await dead_operations.resolve(connection, letter, "discarded", "")
        for dead in (known, unknown):
            await dead_letters.add_message(connection, dead)
        assert [letter.status for letter in await all_letters(connection)] == ["discarded", "open"]


async def test_a_step_is_kept_with_its_documents_and_all_attempts(tables: Factory) -> None:
    (execution,) = await submit(tables)
    async with tables.pool.acquire() as connection:
        pending = [row(execution, "a"), row(execution, "b")]
        await executions.insert_steps(connection, pending)
        done = row(execution, "a", status=StepStatus.COMPLETED, output=document("made"))
        failed = row(
            execution, "b", status=StepStatus.FAILED, attempt=3, worker="w1", error="no more",
            error_class=ErrorClass.TRANSIENT, error_details={"host": "example"},
        )  # fmt: skip
        await executions.update_steps(connection, list(zip(pending, [done, failed], strict=True)))
        for attempt in (1, 2):
            detail = {"error_class": "transient", "explanation": f"attempt {attempt}", "worker": "w0"}
            fact = (execution, "retry", "b", 0, attempt, "coordinator", detail)
            await executions.insert_timeline(connection, [fact])
        found = (await executions.lock(connection, [execution]))[execution]
        await dead_letters.add_step(connection, found, failed)
        await dead_letters.add_step(connection, found, failed)
        (letter,) = await all_letters(connection)
        assert (letter.reason, letter.error_class, letter.explanation) == ("failed", "transient", "no more")
        assert (letter.client, letter.tier, letter.template) == ("acme", "basic", "plain")
        assert [(ref["step"], ref["uri"]) for ref in letter.refs] == [("a", "s3://documents/made")]
        assert [(fact["kind"], fact["attempt"]) for fact in letter.history] == [
            ("retry", 1), ("retry", 2), ("failed", 3),
        ]  # fmt: skip
        assert letter.history[2]["details"] == {"host": "example"}
        await dead_operations.resolve(connection, letter.id, "requeued", "")
        await connection.execute("UPDATE dead_letters SET fingerprint = 'earlier'")
        await dead_letters.add_step(connection, found, failed)
        assert [letter.again_of for letter in await all_letters(connection)] == [None, letter.id]


async def test_a_step_that_is_done_again_needs_no_person_any_more(tables: Factory) -> None:
    (execution,) = await submit(tables)
    async with tables.pool.acquire() as connection:
        rows = [row(execution, step, status=StepStatus.FAILED, error="no") for step in ("a", "b")]
        await executions.insert_steps(connection, rows)
        found = (await executions.lock(connection, [execution]))[execution]
        for failed in rows:
            await dead_letters.add_step(connection, found, failed)
        await connection.execute("UPDATE step_executions SET epoch = 2 WHERE step = 'a'")
        await dead_letters.settle_reopened(connection, [execution])
        assert [(letter.step, letter.status) for letter in await all_letters(connection)] == [
            ("a", "requeued"), ("b", "open"),
        ]  # fmt: skip
        with pytest.raises(dead_operations.NothingSelectedError):
            await dead_operations.start(connection, Order("requeue", "me", {"ids": [1]}))


async def fill(connection: database.Connection, number: int) -> None:
    """Letters of ten stages, five clients and two reasons."""
    await connection.execute(
        """INSERT INTO dead_letters (kind, fingerprint, reason, explanation, client_id, tier, template, stage, step,
                                     body, status)
           SELECT 'message', n::text, CASE WHEN n % 2 = 0 THEN 'failed' ELSE 'invalid_message' END, repeat('x', 200),
                  'client' || n % 5, 'basic', 'plain', 'stage' || n % 10, 'a', decode(repeat('ab', 1000), 'hex'),
                  CASE WHEN n % 3 = 0 THEN 'discarded' ELSE 'open' END
           FROM generate_series(1, $1) AS n""",
        number,
    )
    await connection.execute("ANALYZE dead_letters")


async def test_ten_thousand_letters_are_listed_at_once_and_claimed_quickly(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        await fill(connection, MANY)
        began = time.monotonic()
        found = await dead_letters.listing(connection, {"status": "open", "stage": "stage4", "client": "client4"}, 50)
        whole = await dead_letters.listing(connection, {}, MANY)
        counted = await dead_letters.tally(connection, {"status": "open"})
        listed = time.monotonic() - began
        assert (len(found), len(whole), sum(t.letters for t in counted)) == (50, MANY, 6667)
        assert found == sorted(found, key=lambda letter: -letter.id)
        began = time.monotonic()
        operation = await dead_operations.start(connection, Order("requeue", "me", {"reason": "failed"}))
        claimed = time.monotonic() - began
        (one,) = await dead_operations.listing(connection, operation)
        assert (one.total, one.left) == (3334, 3334)
    print(f"listing and counting {MANY} letters took {listed:.3f} s, claiming {one.total} took {claimed:.3f} s")
    assert listed < 5
    assert claimed < 10


async def test_lists_of_open_letters_read_an_index(tables: Factory) -> None:
    statement = dead_letters.SQL["listing"]
    async with tables.pool.acquire() as connection:
        await fill(connection, MANY)
        await connection.execute("UPDATE dead_letters SET status = 'discarded' WHERE id % 50 > 0")
        await connection.execute("ANALYZE dead_letters")
        for chosen in ({}, {"stage": "stage4"}, {"client": "client4"}, {"reason": "failed"}, {"ids": [1, 50]}):
            literal = json.dumps({"status": "open", **chosen})
            # A plan for these values, as the first executions of a statement get one.
            text = statement.replace("$1", f"'{literal}'::jsonb").replace("$2", "50")
            plan = "\n".join(r[0] for r in await connection.fetch(f"EXPLAIN {text}"))
            assert "Seq Scan" not in plan, f"{chosen}: {plan}"
            assert "Index" in plan


async def test_two_orders_at_once_share_no_letter(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        await fill(connection, 300)

    async def order(stage: int) -> int:
        chosen = {} if stage < 0 else {"stage": f"stage{stage}"}
        async with tables.pool.acquire() as connection:
            try:
                return await dead_operations.start(connection, Order("discard", "me", chosen))
            except dead_operations.NothingSelectedError:
                return 0

    numbers = await asyncio.gather(*(order(stage) for stage in (1, 2, -1, 1, 3, -1)))
    async with tables.pool.acquire() as connection:
        found = await dead_operations.listing(connection)
    assert sum(one.total for one in found) == 200
    assert len(found) == sum(number > 0 for number in numbers) < 6


async def test_an_operation_keeps_to_its_rate(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        await fill(connection, 30)
        operation = await dead_operations.start(connection, Order("discard", "me", {}, rate=2.0))
        async with connection.transaction():
            assert await dead_operations.take(connection, operation, "running")
            await dead_operations.pace(connection, operation)
        async with connection.transaction():
            assert await dead_operations.take(connection, operation, "running") is None
        await connection.execute("UPDATE dead_operations SET next_at = next_at - interval '1 hour'")
        for allowed in (True, True, True, False):
            # A coordinator that was away catches up with a second, not with an hour.
            async with connection.transaction():
                assert bool(await dead_operations.take(connection, operation, "running")) is allowed
                await dead_operations.pace(connection, operation)


async def test_a_message_that_could_not_be_published_is_a_letter_again(tables: Factory) -> None:
    async with tables.pool.acquire() as connection:
        await dead_letters.add_message(connection, message(b"{}"))
        operation = await dead_operations.start(connection, Order("requeue", "me", {}, canary=1))
        await dead_operations.resolve(connection, 1, "requeued", "")
        await outbox.insert(connection, [outbox.Owed("", "gone", "SubmitJob", b"{}", headers={"dead_letter": 1})])
        assert await dead_operations.verdict(connection, operation, 0) == dead_operations.Verdict(0, 1)
        await dead_operations.reopen(connection, [1], "no queue takes it")
        assert await dead_operations.verdict(connection, operation, 0) == dead_operations.Verdict(1, 0)
        (letter,) = await all_letters(connection)
        assert (letter.status, letter.problem) == ("open", "no queue takes it")


async def test_what_is_owed_is_published_as_it_was_whatever_its_bytes(tables: Factory) -> None:
    bodies = [b"{}", bytes(range(256)), b"", "жук".encode("utf-16")]
    async with tables.pool.acquire() as connection:
        stored = await outbox.insert(
            connection, [outbox.Owed("", f"reply.{n}", "SubmitJob", body) for n, body in enumerate(bodies)]
        )
        found = await outbox.claim(connection, -1.0, 10)
    assert [(owed.id, owed.routing_key, owed.body) for owed in stored] == [
        (owed.id, owed.routing_key, owed.body) for owed in found
    ]
    assert [owed.body for owed in found] == bodies
