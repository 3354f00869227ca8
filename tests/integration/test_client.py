"""The producer's client against a real broker; the test itself answers as a coordinator would."""

import asyncio
import contextlib
import re
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import pytest

from contracts import encoding, errors, messages, topology
from contracts.states import ExecutionStatus
from contracts.tiers import Tier
from infra import broker, settings
from infra.delivery import BrokerError, Delivery, UnroutableError
from producer import client
from tests import proxy

EXAMPLE = Path(__file__).parents[2] / "examples" / "publish.py"
Answers = Callable[[messages.SubmitJob], list[messages.Message]]


def job(**fields: messages.Json) -> messages.SubmitJob:
    return messages.SubmitJob.model_validate(
        {"submit_key": client.new_key(), "client": "acme", "template": "report", **fields}
    )


def accepted(request: messages.SubmitJob) -> messages.JobAccepted:
    execution_id = uuid.uuid5(uuid.NAMESPACE_OID, request.submit_key)
    return messages.JobAccepted(
        submit_key=request.submit_key,
        execution_id=execution_id,
        template=request.template,
        template_version=1,
        tier=Tier.BASIC,
        position=0,
    )


def ended(request: messages.SubmitJob) -> messages.ExecutionFinished:
    return messages.ExecutionFinished(
        execution_id=accepted(request).execution_id,
        submit_key=request.submit_key,
        client=request.client,
        status=ExecutionStatus.COMPLETED,
        seconds=1.5,
    )


@contextlib.asynccontextmanager
async def coordinator(url: str, answers: Answers) -> AsyncIterator[list[Delivery]]:
    """Takes jobs of the basic tier and answers each; yields the deliveries that came."""
    came: list[Delivery] = []
    inbox: asyncio.Queue[Delivery] = asyncio.Queue()
    async with broker.connect(url, name="test coordinator") as connection:
        await connection.declare(topology.queues([]))
        publisher = await connection.publisher()
        await connection.consume(topology.jobs_queue(Tier.BASIC), inbox.put_nowait, prefetch=10)

        async def work() -> None:
            while True:
                delivery = await inbox.get()
                came.append(delivery)
                request = encoding.decode(delivery.type, delivery.body)
                assert isinstance(request, messages.SubmitJob)
                for answer in answers(request):
                    await publisher.publish(
                        "",
                        delivery.reply_to or "",
                        type(answer).__name__,
                        encoding.encode(answer),
                        correlation_id=delivery.correlation_id or delivery.message_id,
                    )
                await delivery.ack()

        working = asyncio.create_task(work())
        try:
            yield came
        finally:
            working.cancel()
            await asyncio.wait({working})


async def test_a_job_is_accepted_and_its_end_is_told(stack: settings.Settings) -> None:
    async with (
        coordinator(stack.amqp_url, lambda request: [accepted(request), ended(request)]) as came,
        client.connect(stack.amqp_url) as factory,
    ):
        request = job(parameters={"topic": "solar power"})
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        answer = await factory.submit(request, tier=Tier.BASIC, traceparent=trace)
        assert answer == accepted(request)
        assert await factory.finished(answer.execution_id, timeout=10) == ended(request)
    (delivery,) = came
    assert encoding.decode("SubmitJob", delivery.body) == request
    assert re.match(r"amq\.gen-", delivery.reply_to or "")
    assert delivery.user_id == urlsplit(stack.amqp_url).username
    assert delivery.traceparent == trace
    assert delivery.message_id != delivery.correlation_id


async def test_many_jobs_at_once_each_get_their_own_answer(stack: settings.Settings) -> None:
    async with (
        coordinator(stack.amqp_url, lambda request: [ended(request), accepted(request)]) as came,
        client.connect(stack.amqp_url) as factory,
    ):
        requests = [job() for _ in range(100)]
        answers = await asyncio.gather(*(factory.submit(request, tier=Tier.BASIC) for request in requests))
        ends = await asyncio.gather(*(factory.finished(answer.execution_id, 10) for answer in answers))
    assert [answer.submit_key for answer in answers] == [request.submit_key for request in requests]
    assert [end.submit_key for end in ends] == [request.submit_key for request in requests]
    assert len({delivery.message_id for delivery in came}) == 100


async def test_a_rejection_is_an_error_with_the_reason(stack: settings.Settings) -> None:
    def rejected(request: messages.SubmitJob) -> list[messages.Message]:
        explanation = "field 'template' is 'report'; there is no such template"
        reason = errors.Reason.UNKNOWN_TEMPLATE
        return [messages.JobRejected(submit_key=request.submit_key, reason=reason, explanation=explanation)]

    async with coordinator(stack.amqp_url, rejected), client.connect(stack.amqp_url) as factory:
        with pytest.raises(client.JobRejectedError, match="unknown_template: field 'template'") as caught:
            await factory.submit(job(), tier=Tier.BASIC)
    assert caught.value.rejection.reason is errors.Reason.UNKNOWN_TEMPLATE


async def test_without_an_answer_the_submit_ends_in_time_and_says_what_to_do(stack: settings.Settings) -> None:
    began = time.monotonic()
    async with coordinator(stack.amqp_url, lambda request: []), client.connect(stack.amqp_url) as factory:
        with pytest.raises(client.NoAnswerError, match="submit it again with the same submit_key"):
            await factory.submit(job(), tier=Tier.BASIC, timeout=0.5)
    assert time.monotonic() - began < 5


async def test_an_execution_that_goes_on_is_not_over_within_the_time_out(stack: settings.Settings) -> None:
    async with (
        coordinator(stack.amqp_url, lambda request: [accepted(request)]),
        client.connect(stack.amqp_url) as factory,
    ):
        answer = await factory.submit(job(), tier=Tier.BASIC)
        with pytest.raises(client.NoAnswerError, match=r"is not over after 0\.2 s"):
            await factory.finished(answer.execution_id, timeout=0.2)


async def test_a_lost_connection_repeats_the_same_job_and_never_another(stack: settings.Settings) -> None:
    address = urlsplit(stack.amqp_url)
    async with proxy.to(address.hostname or "", address.port or 5672) as between:

        def cut_off_the_first(request: messages.SubmitJob) -> list[messages.Message]:
            if len(came) > 1:
                return [accepted(request), ended(request)]
            between.cut()
            return []

        through = stack.amqp_url.replace(f":{address.port}", f":{between.port}")
        async with (
            coordinator(stack.amqp_url, cut_off_the_first) as came,
            client.connect(through) as factory,
        ):
            answer = await factory.submit(job(), tier=Tier.BASIC)
            await factory.finished(answer.execution_id, timeout=10)
    first, second = came
    assert first.body == second.body
    assert first.message_id != second.message_id
    assert first.reply_to != second.reply_to


async def test_the_end_of_an_execution_whose_connection_is_lost_is_not_waited_for(stack: settings.Settings) -> None:
    address = urlsplit(stack.amqp_url)
    async with (
        proxy.to(address.hostname or "", address.port or 5672) as between,
        coordinator(stack.amqp_url, lambda request: [accepted(request)]),
        client.connect(stack.amqp_url.replace(f":{address.port}", f":{between.port}")) as factory,
    ):
        answer = await factory.submit(job(), tier=Tier.BASIC)
        waiting = asyncio.create_task(factory.finished(answer.execution_id, timeout=60))
        await asyncio.sleep(0)
        between.cut()
        async with asyncio.timeout(10):
            with pytest.raises(BrokerError):
                await waiting


async def test_a_job_that_no_queue_takes_is_refused_at_once(stack: settings.Settings) -> None:
    queue, key = topology.jobs_queue(Tier.ENTERPRISE), topology.job_key(Tier.ENTERPRISE)
    async with (
        coordinator(stack.amqp_url, lambda request: []),
        client.connect(stack.amqp_url) as factory,
        await aio_pika.connect(stack.amqp_url) as operator,
        operator.channel() as channel,
    ):
        bound = await channel.get_queue(queue)
        await bound.unbind(topology.JOBS, key)
        try:
            with pytest.raises(UnroutableError, match=re.escape(key)):
                await factory.submit(job(), tier=Tier.ENTERPRISE)
        finally:
            await bound.bind(topology.JOBS, key)


async def test_the_plain_publisher_prints_the_answer_and_the_result(stack: settings.Settings) -> None:
    async with coordinator(stack.amqp_url, lambda request: [accepted(request), ended(request)]) as came:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(EXAMPLE), stack.amqp_url, "acme", "report", "solar power"),
            stdout=asyncio.subprocess.PIPE,
            cwd="/",
        )
        async with asyncio.timeout(20):
            printed, _ = await process.communicate()
    assert process.returncode == 0
    assert b"JobAccepted" in printed
    assert b'"status": "completed"' in printed
    (delivery,) = came
    assert re.match(r"amq\.gen-", delivery.reply_to or "")
    assert delivery.user_id == urlsplit(stack.amqp_url).username


async def test_a_connection_that_is_closed_is_a_fault_of_the_broker_and_no_other(stack: settings.Settings) -> None:
    async with broker.connect(stack.amqp_url, name="test") as connection:
        pass
    with pytest.raises(BrokerError, match="cannot inspect"):
        await connection.inspect("jobs.basic")
    with pytest.raises(BrokerError, match="cannot open a channel"):
        await connection.publisher()
