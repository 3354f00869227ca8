"""Templates: what makes a graph of steps, and what a job's parameters must be."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import errors, parameters, templates, tiers
from contracts.messages import Json


def step(name: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "stage": "work", "depends_on": list(depends_on), **fields}


def fanned(name: str, over: str, join: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return step(name, over, fan_out={"over": [over], "field": "x", "join": join or {}}, **fields)


def parsed(*steps: dict[str, Any], parameters: tuple[dict[str, Any], ...] = ()) -> templates.Template:
    return templates.parse({"name": "pipeline", "steps": list(steps), "parameters": list(parameters)})


def refusal(document: object) -> str:
    with pytest.raises(errors.TemplateError) as caught:
        templates.parse(document)
    return str(caught.value)


def test_steps_are_ordered_after_what_they_depend_on() -> None:
    template = parsed(step("d", "b", "c"), step("b", "a"), step("c", "a"), step("a"))
    order = templates.order(template)
    assert sorted(order) == ["a", "b", "c", "d"]
    assert all(order.index(need) < order.index(one.name) for one in template.steps for need in one.depends_on)


@given(st.lists(st.sets(st.integers(0, 11), max_size=3), min_size=1, max_size=12))
def test_any_graph_without_a_circle_is_taken_and_any_other_refused(needs: list[set[int]]) -> None:
    names = [f"s{number}" for number in range(len(needs))]
    known = [sorted(names[need] for need in wanted if need < len(needs)) for wanted in needs]
    steps = [step(name, *wanted) for name, wanted in zip(names, known, strict=True)]
    if circular(dict(zip(names, known, strict=True))):
        assert "circle" in refusal({"name": "pipeline", "steps": steps})
    else:
        assert len(templates.order(parsed(*steps))) == len(needs)


def circular(needs: dict[str, list[str]]) -> bool:
    """Whether some step can be reached from itself."""

    def reached(name: str, seen: frozenset[str]) -> frozenset[str]:
        for need in needs[name]:
            if need not in seen:
                seen = reached(need, seen | {need})
        return seen

    return any(name in reached(name, frozenset()) for name in needs)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "field 'name'"),
        ({"name": "x", "steps": []}, "field 'steps'"),
        ({"name": "No Good", "steps": [step("a")]}, "field 'name' is 'No Good'"),
        ([], "valid dictionary"),
        ({"name": "x", "steps": [step("a"), step("a")]}, "step 'a' is defined twice; rename one"),
        ({"name": "x", "steps": [step("a", "b")]}, "depends_on names 'b', which is no step of this template"),
        ({"name": "x", "steps": [step("a"), step("b", inputs={"x": "a"})]}, "reads the output of 'a'; add it to"),
        (
            {"name": "x", "steps": [step("a", inputs={"x": "parameters.x"})]},
            "declare that parameter with type document",
        ),
        ({"name": "x", "steps": [step("a", timeout=3600)]}, "timeout is 3600 s and the limit is 1200 s"),
        ({"name": "x", "steps": [step("a", colour="red")]}, "field 'steps.0.colour' is 'red'"),
        ({"name": "x", "steps": [step("a", retry={"attempts": 0})]}, "field 'steps.0.retry.attempts' is 0"),
        ({"name": "x", "steps": [step("a", "a")]}, "circle"),
        ({"name": "x", "steps": [step("a", fan_out={"over": ["b"], "field": "x"})]}, "reads the output of 'b'"),
        (
            {"name": "x", "steps": [step("a"), fanned("b", "a"), fanned("c", "b")]},
            "step 'c': fan_out.over names 'b', which is fanned out itself",
        ),
        ({"name": "x", "steps": [step("a"), fanned("b", "a", deliver=["json"])]}, "deliver that of a step after it"),
        (
            {"name": "x", "steps": [step("a"), fanned("b", "a", join={"policy": "percentage", "value": 101})]},
            "fan_out.join.value is 101; give at most 100",
        ),
        (
            {"name": "x", "steps": [step("a")], "parameters": [{"name": "n", "type": "integer", "default": "5"}]},
            "default",
        ),
        (
            {"name": "x", "steps": [step("a")], "parameters": [{"name": "n", "type": "string", "pattern": "("}]},
            "pattern",
        ),
    ],
)
def test_a_wrong_template_is_explained(document: object, told: str) -> None:
    assert told in refusal(document)


@pytest.mark.parametrize(
    ("join", "shards", "needed"),
    [
        ({}, 10, 10),
        ({"policy": "any"}, 10, 1),
        ({"policy": "any"}, 0, 0),
        ({"policy": "at_least", "value": 3}, 10, 3),
        ({"policy": "percentage", "value": 50}, 10, 5),
        ({"policy": "percentage", "value": 50}, 11, 6),
        ({"policy": "percentage", "value": 1}, 3, 1),
        ({"policy": "percentage", "value": 100}, 7, 7),
        ({"policy": "percentage", "value": 0}, 7, 0),
    ],
)
def test_a_join_counts_the_shards_that_must_complete(join: dict[str, Any], shards: int, needed: int) -> None:
    assert templates.Join.model_validate(join).needed(shards) == needed


PARAMETERS: tuple[dict[str, Any], ...] = (
    {"name": "topic", "type": "string", "required": True, "max_length": 20, "pattern": "[a-z ]+"},
    {"name": "limit", "type": "integer", "default": 40, "minimum": 1, "maximum": 100, "editable_by": ["premium"]},
    {"name": "share", "type": "number", "default": 0.5},
    {"name": "fresh", "type": "boolean", "default": False},
    {"name": "languages", "type": "list", "default": [], "max_length": 3},
    {"name": "depth", "type": "string", "default": "short", "choices": ["short", "long"]},
    {"name": "source", "type": "document"},
)
TEMPLATE = parsed(step("a"), parameters=PARAMETERS)
DOCUMENT: Json = {"uri": "s3://factory/key", "sha256": "ab" * 32, "size": 3}


def test_what_a_job_leaves_out_takes_its_default() -> None:
    assert parameters.resolve(TEMPLATE.parameters, tiers.Tier.BASIC, {"topic": "solar power"}) == {
        "topic": "solar power",
        "limit": 40,
        "share": 0.5,
        "fresh": False,
        "languages": [],
        "depth": "short",
        "source": None,
    }


def test_what_a_job_gives_is_kept() -> None:
    given_: dict[str, Json] = {
        "topic": "wind",
        "limit": 7,
        "share": 1,
        "fresh": True,
        "depth": "long",
        "source": DOCUMENT,
    }
    assert parameters.resolve(TEMPLATE.parameters, tiers.Tier.PREMIUM, given_) == given_ | {"languages": []}


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({}, "parameter 'topic' is missing; it is of type string"),
        ({"topic": 7}, "parameter 'topic' is 7; make it of type string"),
        ({"topic": "x" * 21}, "its length is 21; shorten it to 20"),
        ({"topic": "Solar!"}, "make it match [a-z ]+"),
        ({"topik": "wind"}, "parameter 'topik' is not one of this template's; it has: topic, limit"),
        ({"limit": 0}, "parameter 'limit' is 0; give at least 1"),
        ({"limit": 101}, "give at most 100"),
        ({"limit": 2.5}, "make it of type integer"),
        ({"limit": True}, "make it of type integer"),
        ({"limit": None}, "make it of type integer"),
        ({"share": "half"}, "make it of type number"),
        ({"fresh": 1}, "make it of type boolean"),
        ({"languages": "en"}, "make it of type list"),
        ({"languages": ["en"] * 4}, "its length is 4; shorten it to 3"),
        ({"depth": "deep"}, "choose one of 'short', 'long'"),
        ({"source": {"uri": "file:///etc/passwd"}}, "give the reference of a stored document"),
    ],
)
def test_a_wrong_parameter_is_explained(given_: dict[str, Json], told: str) -> None:
    with pytest.raises(errors.TemplateError, match="parameter ") as caught:
        parameters.resolve(TEMPLATE.parameters, tiers.Tier.PREMIUM, given_)
    assert told in str(caught.value)


def test_a_tier_sets_only_the_parameters_that_are_open_to_it() -> None:
    with pytest.raises(
        errors.TemplateError, match="'limit' cannot be set by tier basic; leave it out, or use one of: premium"
    ):
        parameters.resolve(TEMPLATE.parameters, tiers.Tier.BASIC, {"topic": "wind", "limit": 7})


def test_every_wrong_parameter_is_told_at_once() -> None:
    with pytest.raises(errors.TemplateError) as caught:
        parameters.resolve(TEMPLATE.parameters, tiers.Tier.PREMIUM, {"limit": 0, "depth": "deep"})
    assert len(caught.value.problems) == 3
