"""Publishing jobs: answers, repeats, refusals, and everything that can be wrong with a job."""

import asyncio
import json
import re
import uuid
from urllib.parse import urlsplit

from contracts import encoding, messages, steering
from contracts.tiers import Tier
from infra import management
from tests.factories import Client, Factory, eventually

PARAMETERS = [
    {"name": "topic", "type": "string", "required": True, "max_length": 20},
    {"name": "limit", "type": "integer", "default": 3, "minimum": 1, "maximum": 9},
    {"name": "depth", "type": "integer", "default": 1, "editable_by": ["enterprise"]},
]


async def _ready(factory: Factory) -> None:
    await factory.client()
    await factory.template("plain", [{"name": "only"}], parameters=PARAMETERS)
    await factory.template("noble", [{"name": "only"}], tiers=["enterprise"])
    factory.coordinator()


async def test_the_same_submit_key_stands_for_one_execution(factory: Factory) -> None:
    await _ready(factory)
    factory.worker()
    job = encoding.encode(
        messages.SubmitJob(submit_key="once", client="acme", template="plain", parameters={"topic": "tin"})
    )
    async with factory.connect() as client:
        await asyncio.gather(*(client.publish(job) for _ in range(5)))
        answers = await client.answered(messages.JobAccepted, 5)
        await factory.all_over(1)
    assert len({answer.model_dump_json() for answer in answers}) == 1
    for process in factory.processes:
        process.kill()
    factory.coordinator()
    async with factory.connect() as client:
        await client.publish(job)
        (again,) = await client.answered(messages.JobAccepted)
        other = messages.SubmitJob(submit_key="once", client="acme", template="plain", parameters={"topic": "lead"})
        await client.publish(encoding.encode(other))
        (rejected,) = await client.answered(messages.JobRejected)
    assert again == answers[0]
    assert rejected.reason == "conflict"
    assert len(factory.runs()) == 1


async def test_only_the_clients_own_user_or_a_service_may_speak_for_him(factory: Factory) -> None:
    await _ready(factory)
    await factory.client("other", Tier.STANDARD, amqp_user=f"other-{factory.settings.s3_bucket}")
    job = messages.SubmitJob(submit_key="x", client="acme", template="plain", parameters={"topic": "tin"})
    async with management.connect(factory.settings.amqp_admin_url, factory.settings.amqp_url) as api:
        await api.put_user(f"other-{factory.settings.s3_bucket}", "secret")
    parts = urlsplit(factory.settings.amqp_url)
    url = parts._replace(netloc=f"other-{factory.settings.s3_bucket}:secret@{parts.hostname}:{parts.port}").geturl()
    async with factory.connect(url) as client:
        await client.publish(encoding.encode(job))
        (rejected,) = await client.answered(messages.JobRejected)
        own = job.model_copy(update={"client": "other"})
        await client.publish(encoding.encode(own))
        (accepted,) = await client.answered(messages.JobAccepted)
        await client.publish(encoding.encode(own), user_id=None)
        _, anonymous = await client.answered(messages.JobRejected, 2)
    assert rejected.reason == anonymous.reason == "forbidden"
    assert "'acme'" in rejected.explanation
    assert accepted.tier == "standard"


async def test_every_bad_job_is_answered_and_the_queue_goes_on(factory: Factory) -> None:
    await _ready(factory)
    factory.worker()
    good = {"submit_key": "k", "client": "acme", "template": "plain", "parameters": {"topic": "tin"}}
    cases = {
        "unknown_template": {**good, "template": "nothing"},
        "tier_forbidden": {**good, "template": "noble"},
        "invalid_parameters": {**good, "parameters": {"topic": 7}},
        "unknown_client": {**good, "client": "nobody"},
        "invalid_message": {**good, "colour": "red"},
        "unknown_version": {**good, "version": 2},
        "too_large": {**good, "parameters": {"topic": "x" * 40_000}},
        "invalid_message ": {**good, "parameters": {"topic": "a\u0000b"}},
        "invalid_parameters ": {**good, "parameters": {"topic": "tin", "limit": float("inf")}},
    }
    async with factory.connect() as client:
        for number, (reason, body) in enumerate(cases.items(), start=1):
            await client.publish(json.dumps(body).encode())
            rejected = (await client.answered(messages.JobRejected, number))[-1]
            assert rejected.reason == reason.strip(), rejected.explanation
        await client.publish(b'{"submit_key": "k", ')
        broken = (await client.answered(messages.JobRejected, len(cases) + 1))[-1]
        assert broken.reason == "invalid_message"
        await client.publish(b"{}", type_name="MakeTea", headers={"odd": "a\0b"})
        strange = (await client.answered(messages.JobRejected, len(cases) + 2))[-1]
        assert strange.reason == "unknown_type"
        await client.publish(json.dumps(good).encode())
        await client.answered(messages.ExecutionFinished)
    # What could not be read at all is kept for a person as well, whoever was told.
    dead = await factory.fetch("SELECT reason, body FROM dead_letters ORDER BY id")
    assert [row["reason"] for row in dead] == [
        "invalid_message", "unknown_version", "too_large", "invalid_message", "invalid_message", "unknown_type",
    ]  # fmt: skip
    assert len(dead[2]["body"]) > 40_000


async def test_parameters_are_explained_by_field_value_and_remedy(factory: Factory) -> None:
    await _ready(factory)
    async with factory.connect() as client:
        await client.submit("plain", parameters={"topic": "x" * 21, "limit": 10, "depth": 2, "colour": "red"})
        (rejected,) = await client.answered(messages.JobRejected)
    for part in ("'topic'", "shorten it to 20", "'limit' is 10", "at most 9", "'depth'", "tier basic", "'colour'"):
        assert part in rejected.explanation


async def test_a_bad_job_that_left_no_address_becomes_a_dead_letter(factory: Factory) -> None:
    await _ready(factory)
    async with factory.connect() as client:
        await client.submit("nothing")
        await client.answered(messages.JobRejected)
        job = messages.SubmitJob(submit_key="k", client="acme", template="nothing")
        await client.publish(encoding.encode(job), reply_to=None)
        await client.publish(encoding.encode(job), reply_to="events.basic")

        async def kept() -> bool:
            return len(await factory.fetch("SELECT 1 FROM dead_letters")) == 2

        await eventually(kept, "both jobs are dead letters")
    rows = await factory.fetch("SELECT reason, explanation, message_type, status FROM dead_letters ORDER BY id")
    assert [row["reason"] for row in rows] == ["unknown_template", "invalid_reply_to"]
    assert "factory templates list" in rows[0]["explanation"]
    assert {row["message_type"] for row in rows} == {"SubmitJob"}


async def test_a_poisoned_job_does_not_hold_up_its_neighbours(factory: Factory) -> None:
    await _ready(factory)
    factory.worker()
    async with factory.connect() as client:
        # No column holds such a number, which JSON allows: only the write finds out.
        await asyncio.gather(
            *(
                client.submit("plain", parameters={"topic": "tin"}, budget=10**30 if number == 13 else None)
                for number in range(30)
            )
        )
        finished = await client.answered(messages.ExecutionFinished, 29)
        (rejected,) = await client.answered(messages.JobRejected)
    assert {message.status for message in finished} == {"completed"}
    assert rejected.reason == "data_error"
    assert [row["reason"] for row in await factory.fetch("SELECT reason FROM dead_letters")] == ["data_error"]


async def test_a_coordinator_without_the_policy_says_so_and_takes_nothing(factory: Factory) -> None:
    async with management.connect(factory.settings.amqp_admin_url, factory.settings.amqp_url) as api:
        await api.remove_policy()
        await _ready(factory)
        process = factory.processes[-1]

        async def said() -> bool:
            return "run 'factory migrate'" in factory.log(process)

        await eventually(said, "the coordinator names the policy and the remedy")
        async with factory.connect() as client:
            await client.submit("plain", parameters={"topic": "tin"})
            assert not client.answers
            await api.install_policy()
            await client.answered(messages.JobAccepted)
    assert re.search(r"governed by no policy", factory.log(process))


async def _rejected(client: Client) -> messages.JobRejected:
    (found,) = await client.answered(messages.JobRejected)
    assert isinstance(found, messages.JobRejected)
    return found


async def test_a_cancellation_for_another_client_is_refused(factory: Factory) -> None:
    await _ready(factory)
    await factory.client("other")
    async with factory.connect() as client:
        await client.submit("plain", parameters={"topic": "tin"})
        (accepted,) = await client.answered(messages.JobAccepted)
        theft = steering.CancelExecution(client="other", execution_id=accepted.execution_id)
        await client.publish(encoding.encode(theft), type_name="CancelExecution")
        assert (await _rejected(client)).reason == "unknown_execution"
        nothing = steering.CancelExecution(client="acme", execution_id=uuid.uuid4())
        await client.publish(encoding.encode(nothing), type_name="CancelExecution")
        assert len(await client.answered(messages.JobRejected, 2)) == 2
    assert "cancelled" not in await factory.statuses()
