"""One trace from the publish of a job to its end, over every hop, retry and shard, as a collector receives it."""

import asyncio
import dataclasses
import json
import socket
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from contracts import encoding, messages, topology
from contracts.refs import inline
from contracts.tiers import Tier
from infra import tracing
from producer import client
from tests import collector as collectors
from tests.collector import Collector, Span
from tests.factories import Client, Factory, eventually, terminate

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
FIVE = ("a", "b", "c", "d", "e")
HOP = ["offer effect", "work effect", "settle"]
ROWS = "SELECT traceparent FROM executions"
HOSTILE = [f"00-{TRACE}-{CALLER}-01-{'x' * 5000}", "\x1b[31mforged\noutcome=completed", f"ff-{TRACE}-{CALLER}-01"]


@pytest_asyncio.fixture
async def collector(factory: Factory) -> AsyncIterator[Collector]:
    """A collector to which all processes of the factory export."""
    async with collectors.serve() as found:
        factory.environment["FACTORY_TRACES_ENDPOINT"] = found.endpoint
        await factory.client()
        yield found


def chain(*names: str) -> list[dict[str, object]]:
    before = [None, *names]
    return [
        {"name": name, "depends_on": [up] if up else [], "deliver": ["json"] if name == names[-1] else []}
        for up, name in zip(before, names, strict=False)
    ]


async def stop(factory: Factory) -> None:
    """Ends the processes in good order, so that every span has left."""
    statuses = await asyncio.gather(*(asyncio.to_thread(terminate, process) for process in factory.processes))
    assert set(statuses) == {0}


def whole(collector: Collector, trace: str) -> list[Span]:
    """The spans of a trace, each of which but the first has a parent in it."""
    spans = [span for span in collector.spans if span.trace == trace]
    ids = {span.id for span in spans}
    assert [span.name for span in spans if span.parent not in ids] in (["submit"], ["accept"])
    assert len(ids) == len(spans), "no span is exported twice"
    return spans


async def test_five_hops_are_one_trace_from_the_publish_to_the_end(factory: Factory, collector: Collector) -> None:
    await factory.template("five", chain(*FIVE))
    factory.coordinator()
    factory.worker()
    settings = dataclasses.replace(factory.settings, traces_endpoint=collector.endpoint)
    job = messages.SubmitJob(submit_key=uuid.uuid4().hex, client="acme", template="five")
    async with client.of(settings) as producer:
        accepted = await producer.submit(job, tier=Tier.BASIC)
        finished = await producer.finished(accepted.execution_id, 60)
    assert finished.status == "completed"
    await stop(factory)
    (trace,) = collector.traces
    spans = whole(collector, trace)
    (end,) = collector.named("finish", status="completed", deliverables=1)
    assert collector.way(end) == ["submit", "accept", *HOP * 5, "finish"]
    for step in FIVE:
        (offer,) = collector.named("offer effect", step=step)
        (work,) = collector.named("work effect", step=step)
        (settle,) = collector.named("settle", step=step)
        assert (work.parent, settle.parent) == (offer.id, work.id)
        assert (offer.kind, work.kind, settle.kind) == ("producer", "consumer", "consumer")
        assert (offer.process, work.process, settle.process) == ("coordinator", "worker", "coordinator")
        assert offer.began <= work.began <= work.ended
        assert {span.name for span in spans if span.parent == work.id} == {"load", "run", "store", "settle"}
    (submit,) = collector.named("submit")
    assert (submit.process, submit.attributes["factory.execution_id"]) == ("producer", str(accepted.execution_id))
    told = {"factory.client": "acme", "factory.tier": "basic", "factory.template": "five", "factory.stage": "effect"}
    assert {**told, "messaging.system": "rabbitmq"}.items() <= work.attributes.items()
    assert not any(span.failed for span in spans)
    (row,) = await factory.fetch(ROWS)
    assert tracing.trace_id(row["traceparent"]) == trace


async def test_retries_and_shards_are_in_the_trace_of_their_execution(factory: Factory, collector: Collector) -> None:
    shards = {"fan_out": {"over": ["find"], "field": "record"}, "parameters": {"records": "1", "size": "6000"}}
    flaky = {"records": "6", "fail": "'transient'", "fail_below_attempt": "2"}
    await factory.template(
        "wide",
        [
            {"name": "find", "retry": {"attempts": 2, "base": 0.05, "cap": 0.1}, "parameters": flaky},
            {"name": "read", "depends_on": ["find"], **shards},
            {"name": "tell", "depends_on": ["read"], "inputs": {"upstream": "read"}},
        ],
    )
    factory.coordinator()
    factory.worker()
    async with factory.connect() as publisher:
        await publisher.submit("wide")
        (finished,) = await publisher.answered(messages.ExecutionFinished)
    assert finished.status == "completed"
    await stop(factory)
    (trace,) = collector.traces
    spans = whole(collector, trace)
    first, second = collector.named("work effect", step="find")
    assert (first.attributes["factory.attempt"], second.attributes["factory.attempt"]) == (1, 2)
    assert (first.failed, first.attributes["error.type"], second.failed) == (True, "transient", False)
    assert collector.way(second)[:3] == ["accept", "offer effect", "work effect"]
    read = collector.named("work effect", step="read")
    assert sorted(span.attributes["factory.shard"] for span in read) == [1, 2, 3, 4, 5, 6]
    settled = collector.named("settle", step="read")
    assert {span.id for span in read} == {context for span in settled for context in (span.parent, *span.links)}
    (tell,) = collector.named("work effect", step="tell")
    assert collector.way(tell)[-4:-1] == ["work effect", "settle", "offer effect"], "the join follows from a settlement"
    stored = {span.name for span in spans if span.name.startswith("object ")}
    assert stored == {"object put", "object get"}


async def test_a_client_brings_its_own_trace_and_a_broken_one_counts_as_none(
    factory: Factory, collector: Collector
) -> None:
    await factory.template("one", chain("a"))
    coordinator, worker = factory.coordinator(), factory.worker()
    async with factory.connect() as publisher:
        for trace in (f"00-{TRACE}-{CALLER}-01", *HOSTILE):
            await submit(publisher, trace)
        await publisher.answered(messages.ExecutionFinished, 1 + len(HOSTILE))
    await stop(factory)
    stored = [row["traceparent"] for row in await factory.fetch(ROWS)]
    assert {tracing.valid(found) for found in stored} == set(stored), "all of them are contexts"
    assert len(collector.traces) == len(stored) == 1 + len(HOSTILE)
    (accept,) = (span for span in collector.named("accept") if span.trace == TRACE)
    assert accept.parent == CALLER
    assert all(span.trace == TRACE or not span.parent for span in collector.named("accept"))
    for process in (coordinator, worker):
        assert "forged" not in factory.log(process)
        assert "x" * 50 not in factory.log(process)


async def submit(publisher: Client, traceparent: str) -> None:
    job = messages.SubmitJob(submit_key=uuid.uuid4().hex, client="acme", template="one")
    await publisher.publish(encoding.encode(job), traceparent=traceparent)


@pytest.mark.parametrize("broken", [False, True])
async def test_events_told_together_keep_their_own_contexts(
    factory: Factory, collector: Collector, broken: bool
) -> None:
    await factory.template("one", chain("a"))
    factory.coordinator()
    async with factory.connect() as publisher:
        for _ in range(2):
            await publisher.submit("one")

        async def dispatched() -> bool:
            return len(await factory.fetch("SELECT 1 FROM step_executions WHERE status = 'dispatched'")) == 2

        await eventually(dispatched, "both tasks are offered")
        rows = await factory.fetch("SELECT id, traceparent FROM executions")
        traces = {row["id"]: tracing.trace_id(row["traceparent"]) for row in rows}
        contexts = {found: f"00-{trace}-{index:016x}-01" for index, (found, trace) in enumerate(traces.items(), 1)}
        header = "\x00,,," if broken else ",".join(contexts.values())
        await publisher.publisher.publish(
            topology.EVENTS,
            topology.event_key(Tier.BASIC),
            "TasksEnded",
            json.dumps({"version": 1, "completed": [ended(found) for found in contexts]}).encode(),
            headers={topology.BUNDLED: 2, topology.TRACEPARENTS: header},
        )
        await publisher.answered(messages.ExecutionFinished, 2)
    await stop(factory)
    accepted = {span.trace: span.id for span in collector.named("accept")}
    for found, context in contexts.items():
        (settle,) = collector.named("settle", execution_id=str(found))
        assert settle.trace == traces[found]
        assert settle.parent == (accepted[settle.trace] if broken else context[36:52])


def ended(execution: uuid.UUID) -> dict[str, object]:
    key = messages.TaskKey(execution, 1, "a", 0, 1)
    event = messages.StageCompleted(**key._asdict(), worker="w", output=inline(b"{}"))
    document: dict[str, object] = json.loads(encoding.encode(event))
    return document


async def test_a_collector_that_is_away_harms_nothing(factory: Factory) -> None:
    await factory.client()
    await factory.template("five", chain(*FIVE))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        factory.environment["FACTORY_TRACES_ENDPOINT"] = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        coordinator, worker = factory.coordinator(), factory.worker()
        async with factory.connect() as publisher:
            for _ in range(20):
                await publisher.submit("five")
            finished = await publisher.answered(messages.ExecutionFinished, 20)

        async def noticed() -> bool:
            return "traces_not_exported" in factory.log(worker)

        await eventually(noticed, "the worker says that its spans do not arrive")
        began = time.monotonic()
        await stop(factory)
    assert {message.status for message in finished} == {"completed"}
    assert time.monotonic() - began < 20
    for process in (coordinator, worker):
        assert 1 <= factory.log(process).count("traces_not_exported") <= 3


async def test_without_tracing_no_library_is_loaded_and_every_execution_has_its_trace(factory: Factory) -> None:
    await factory.client()
    await factory.template("one", chain("a"))
    # A program that starts, rather than a copy of one: it tells each module that it loads.
    factory.environment |= {"LD_PRELOAD": "", "PYTHONPROFILEIMPORTTIME": "1"}
    processes = [factory.coordinator(), factory.worker()]
    async with factory.connect() as publisher:
        await publisher.submit("one")
        await submit(publisher, f"00-{TRACE}-{CALLER}-01")
        await publisher.answered(messages.ExecutionFinished, 2)
        answers = [delivery.traceparent for _, delivery in publisher.answers]
    for process in processes:
        assert "import time:" in factory.log(process)
        assert "opentelemetry" not in factory.log(process)
    stored = {row["traceparent"] for row in await factory.fetch(ROWS)}
    assert f"00-{TRACE}-{CALLER}-01" in stored
    assert {tracing.valid(found) for found in stored} == stored
    assert Counter(answers) == Counter([*stored, *stored]), "acceptance and end name the trace"
    for found in stored:
        assert f"trace={tracing.trace_id(found)}" in factory.log(processes[1])
