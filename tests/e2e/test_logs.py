"""What a stage read or raised stays out of the logs; what came of its work is one line there."""

import json
import uuid
from typing import Any

import pytest

from contracts import encoding, messages
from infra import tracing
from tests.factories import Factory, eventually, terminate
from tests.launcher import Process

TEXT = "Ten ways to compost\nforged outcome=completed \x1b[31m\u202e\u2028\x9b"
WHY = f"{TEXT} at https://reader:feed-password@feeds.example/private?token=1"
NEVER = ("compost", "forged", "feed-password", "private", "token", "\x1b", "\u202e", "\u2028", "\x9b", "\\u202e")
FIELDS = {
    *("event", "outcome", "stage", "execution", "step", "shard", "attempt", "epoch", "trace", "client", "tier"),
    *("seconds", "process", "level", "timestamp"),
}


def told(factory: Factory, process: Process, event: str) -> list[dict[str, Any]]:
    """The lines of an event; every line must be JSON."""
    lines = [json.loads(line) for line in factory.log(process).splitlines()]
    return [line for line in lines if line["event"] == event]


@pytest.mark.parametrize("form", ["json", "console"])
async def test_text_and_secrets_of_a_failure_are_not_logged(factory: Factory, form: str) -> None:
    factory.environment["FACTORY_LOG_FORMAT"] = form
    await factory.client()
    await factory.template(
        "bad",
        [
            {"name": "fails", "optional": True, "parameters": {"why": "parameters.why", "fail": "'permanent'"}},
            {
                "name": "raises",
                "depends_on": ["fails"],
                "retry": {"attempts": 1},
                "parameters": {"why": "parameters.why", "surprise": "true"},
            },
        ],
        parameters=[{"name": "why", "type": "string"}],
    )
    coordinator, worker = factory.coordinator(), factory.worker()
    async with factory.connect() as client:
        await client.submit("bad", parameters={"why": WHY})
        await client.publish(b'{"version": 1, "client": "Ten ways to compost\\nforged"}')
        (finished,) = await client.answered(messages.ExecutionFinished)
    assert "compost" in finished.explanation, "whoever may see the execution sees why it failed"
    terminate(worker)
    terminate(coordinator)
    for process in (coordinator, worker):
        text = factory.log(process)
        assert [part for part in NEVER if part in text] == []
    (row,) = await factory.fetch("SELECT id, traceparent FROM executions")
    if form == "console":
        assert factory.log(worker).count(f" execution={row['id']} ") == 3
        return
    fails, raises = told(factory, worker, "task_settled")
    assert fails.keys() == FIELDS
    assert (fails["outcome"], raises["outcome"]) == ("permanent", "transient")
    wanted = {"execution": str(row["id"]), "stage": "effect", "shard": 0, "attempt": 1, "epoch": 1, "client": "acme"}
    trace = tracing.trace_id(row["traceparent"])
    assert {**wanted, "step": "fails", "trace": trace, "tier": "basic", "level": "info"}.items() <= fails.items()
    (raised,) = told(factory, worker, "stage_raised")
    assert "ValueError" in raised["exception"]
    assert "effect_stage.py" in raised["exception"]
    (end,) = told(factory, coordinator, "execution_finished")
    told_of_end = {"execution": str(row["id"]), "trace": trace, "template": "bad", "tier": "basic", "outcome": "failed"}
    assert told_of_end.items() <= end.items()


@pytest.mark.parametrize(("setting", "outcomes"), [("all", ["transient", "completed"]), ("failed", ["transient"])])
async def test_each_settlement_is_one_line(factory: Factory, setting: str, outcomes: list[str]) -> None:
    factory.environment |= {"FACTORY_LOG_FORMAT": "json", "FACTORY_LOG_SETTLEMENTS": setting}
    await factory.client()
    flaky = {"fail": "'transient'", "fail_below_attempt": "2"}
    retry = {"attempts": 2, "base": 0.05, "cap": 0.1}
    await factory.template("flaky", [{"name": "work", "retry": retry, "parameters": flaky}])
    factory.coordinator()
    worker = factory.worker()
    async with factory.connect() as client:
        job = messages.SubmitJob(submit_key=uuid.uuid4().hex, client="acme", template="flaky")
        await client.publish(encoding.encode(job))
        await client.answered(messages.ExecutionFinished)

        async def settled() -> bool:
            return len(told(factory, worker, "task_settled")) >= len(outcomes)

        await eventually(settled, "the worker has settled its tasks")
    terminate(worker)
    lines = told(factory, worker, "task_settled")
    assert [line["outcome"] for line in lines] == outcomes
    assert [line["attempt"] for line in lines] == [1, 2][: len(outcomes)]
