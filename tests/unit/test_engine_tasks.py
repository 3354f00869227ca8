"""What a task says: parameters, references, the record of its shard, prepared inputs, and the limit of its size."""

from typing import Any

import pytest

from consumers.coordinator.engine import effects, facts, joins, offers
from contracts import messages, templates
from contracts.errors import ErrorClass
from tests.unit import play
from tests.unit.play import Play, fanned, step

STORED = play.document("given").model_dump(mode="json", exclude_none=True)


def test_a_task_names_its_attempt_its_stage_and_for_whom_it_is() -> None:
    game = Play(step("a", timeout=12.5), budget=700, epoch=3).start()
    task = game.task("a")
    assert task.key == (game.execution.id, 3, "a", 0, 1)
    assert (task.stage, task.timeout, task.shard_input, task.manifest) == ("work", 12.5, None, None)
    context = task.context
    assert (context.client, context.tier, context.quality, context.optimise_for) == ("acme", "premium", "high", "speed")
    assert (context.template, context.template_version, context.budget_left) == ("played", 1, 700)


@pytest.mark.parametrize(
    ("money", "left"),
    [
        ({}, None),
        ({"budget": 700, "used": 300}, 400),
        ({"budget": 700, "used": 300, "month_left": 150}, 150),
        ({"month_left": 0}, 0),
        ({"budget": 700, "used": 900, "month_left": 150}, 0),
    ],
)
def test_a_task_says_how_much_money_is_left(money: dict[str, Any], left: int | None) -> None:
    assert Play(step("a"), **money).start().task("a").context.budget_left == left


def test_parameters_are_mapped_and_null_leaves_a_field_at_its_default() -> None:
    parameters = {
        "topic": "parameters.topic",
        "count": "steps.a.found * 2",
        "left_out": "parameters.nothing",
        "off": "false",
        "zero": "0",
    }
    game = Play(step("a"), step("b", "a", parameters=parameters), parameters={"topic": "bees", "nothing": None}).start()
    game.complete("a", summary={"found": 4})
    assert game.task("b").parameters == {"topic": "bees", "count": 8, "off": False, "zero": 0}


def test_a_parameter_without_a_value_fails_the_step_and_no_other_stage_is_asked() -> None:
    game = Play(step("a", parameters={"x": "parameters.absent"}, fallback=["plan_b"])).start()
    assert game.execution.status == "failed"
    assert "absent" in (game.row("a").error or "")
    assert game.offered == []


def test_inputs_are_the_references_of_the_outputs() -> None:
    game = Play(step("a"), step("b"), step("c", "a", "b", inputs={"left": "a", "right": "b"})).start()
    game.complete("a")
    game.complete("b")
    assert game.task("c").inputs.fields == {"left": game.row("a").output, "right": game.row("b").output}


def test_a_document_that_the_job_brought_is_an_input() -> None:
    parameters = [{"name": "doc", "type": "document"}]
    template = {"name": "given", "steps": [step("a", inputs={"source": "parameters.doc"})], "parameters": parameters}
    parsed = templates.parse(template)
    game = Play(template=parsed, parameters={"doc": STORED}).start()
    assert game.task("a").inputs.fields == {"source": play.document("given")}
    without = Play(template=parsed, parameters={"doc": None}).start()
    assert without.task("a").inputs.fields == {}


def test_a_document_parameter_that_is_none_fails_the_step_alone() -> None:
    parameters = [{"name": "doc", "type": "document"}]
    template = {"name": "given", "steps": [step("a", inputs={"source": "parameters.doc"})], "parameters": parameters}
    game = Play(template=templates.parse(template), parameters={"doc": {"uri": "nonsense"}}).start()
    assert game.execution.status == "failed"
    assert "field 'uri' is 'nonsense'" in (game.row("a").error or "")


def test_inputs_of_a_fan_out_are_gathered_before_the_task_is_offered() -> None:
    game = Play(step("a"), fanned("b", "a"), step("c", "b", inputs={"all": "b"})).start()
    game.complete("a", records=1)
    game.complete("b", 1)
    assert game.status("c") == "ready"
    assert [effect.key for effect in game.found(effects.Prepare)] == [game.key("c")]
    joined = messages.Joined(outputs=(play.document("b-1"),))
    prepared = facts.Prepared(game.key("c"), messages.Inputs(fields={"all": joined}), None)
    assert game.tell(prepared, prepared) == ["duplicate"]
    assert game.task("c").inputs.fields == {"all": joined}


def test_prepared_inputs_serve_every_further_attempt() -> None:
    game = Play(step("a"), fanned("b", "a"), step("c", "b", inputs={"all": "b"})).start()
    game.complete("a", records=0)
    manifest = play.document("manifest")
    game.prepare("c", manifest=manifest)
    game.fail("c", ErrorClass.TRANSIENT)
    game.tell(facts.RetryDue(game.key("c")))
    game.tell(facts.TaskLost(game.key("c")))
    assert [(task.attempt, task.manifest) for task in game.offered[-3:]] == [
        (1, manifest),
        (2, manifest),
        (3, manifest),
    ]
    assert game.task("c").inputs.fields == {}


def test_inputs_prepared_for_an_older_epoch_are_refused() -> None:
    game = Play(step("a"), fanned("b", "a"), step("c", "b", inputs={"all": "b"}), epoch=2).start()
    game.complete("a", records=0)
    stale = game.key("c")._replace(epoch=1)
    assert game.tell(facts.Prepared(stale, messages.Inputs(), None)) == ["stale"]
    assert game.status("c") == "ready"


@pytest.mark.parametrize(("size", "status"), [(3000, "dispatched"), (4000, "ready")])
def test_inputs_over_their_limit_are_gathered_into_a_manifest(size: int, status: str) -> None:
    names = [f"s{number}" for number in range(4)]
    game = Play(*map(step, names), step("z", *names, inputs={f"in_{name}": name for name in names})).start()
    for name in names:
        game.complete(name, output=play.inline(size=size))
    assert game.status("z") == status
    if status == "ready":
        game.prepare("z", manifest=play.document("manifest"))
        assert game.task("z").manifest == play.document("manifest")


def test_a_task_over_the_limit_fails_its_step_with_the_limit() -> None:
    parameters = {f"p{number}": "parameters.text + parameters.text" for number in range(10)}
    game = Play(step("a", parameters=parameters), parameters={"text": "x" * 2000}).start()
    assert game.execution.status == "failed"
    assert "limit is 32768" in (game.row("a").error or "")
    assert game.offered == []


def test_the_same_row_always_makes_the_same_task() -> None:
    game = Play(step("a"), fanned("b", "a"), parameters={"topic": "bees"}).start()
    game.complete("a", records=2)
    snapshot = game.snapshot(("b", 2))
    again = offers.build(snapshot, game.row("b", 2), game.tools.evaluate)
    assert again == game.task("b", 2)


def test_a_fan_out_whose_tasks_cannot_be_built_fails_before_it_opens() -> None:
    fields: dict[str, Any] = {"fallback": ["plan_b"], "retry": {"classes": ["invalid_input"]}}
    game = Play(step("a"), fanned("b", "a", parameters={"n": "steps.a.missing"}, **fields)).start()
    game.complete("a", records=3)
    assert (game.status("b"), game.row("b").error_class) == ("failed", "invalid_input")
    assert game.shards("b") == ""
    assert [task.step for task in game.offered] == ["a"], "and the step is never offered as if it were not fanned out"


def test_the_largest_task_of_every_document_is_tried_before_the_fan_out_opens() -> None:
    inputs = {f"in_{number}": f"e{number}" for number in range(4)}
    extra = [step(f"e{number}") for number in range(4)]
    text = "+".join(["'" + "x" * 1950 + "'"])
    parameters = {f"p{number}": text for number in range(8)}
    over = [step("small"), step("large")]
    game = Play(
        *extra,
        *over,
        fanned("b", "small", "large")
        | {"depends_on": ["small", "large", *inputs.values()], "inputs": inputs, "parameters": parameters},
    ).start()
    for name in inputs.values():
        game.complete(name, output=play.inline(size=3000))
    game.complete("small", records=1)
    game.complete("large", output=play.inline(records=1, size=4000))
    assert game.status("b") == "failed"
    assert "limit is 32768" in (game.row("b").error or "")


def test_a_fan_out_has_a_largest_size() -> None:
    game = Play(step("a"), fanned("b", "a")).start()
    game.complete("a", records=joins.MOST_SHARDS + 1)
    assert "100001 records" in (game.row("b").error or "")
    assert game.shards("b") == ""


def test_a_fan_out_whose_other_inputs_come_late_opens_when_they_are_gathered() -> None:
    game = Play(
        step("a"),
        fanned("b", "a"),
        step("more"),
        fanned("c", "more") | {"depends_on": ["more", "b"], "inputs": {"given": "b"}},
    ).start()
    game.complete("more", records=2)
    game.complete("a", records=1)
    game.complete("b", 1)
    assert game.status("c") == "ready"
    game.prepare("c", manifest=play.document("manifest"))
    assert game.shards("c") == "dd"
    assert game.task("c", 2).manifest == play.document("manifest")
    game.fail("c", ErrorClass.TRANSIENT, 2)
    game.tell(facts.RetryDue(game.key("c", 2)))
    assert game.task("c", 2).manifest == play.document("manifest")
