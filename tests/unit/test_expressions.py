"""Expressions of templates: their values, their bounds, and what people are told about wrong ones."""

import time

import pytest

from contracts import errors
from contracts.messages import Json
from infra import expressions

VARIABLES: dict[str, Json] = {
    "parameters": {"topic": "solar power", "languages": ["en", "de"], "limit": 40, "share": 0.5, "empty": None},
    "context": {"tier": "premium", "quality": "high", "budget": None},
    "steps": {"find": {"status": "completed", "found": 3, "mean_score": 0.61}, "research": {"status": "skipped"}},
}


def refusal(source: str, variables: dict[str, Json] = VARIABLES) -> str:
    with pytest.raises(errors.TemplateError) as caught:
        expressions.value(source, variables)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("parameters.topic", "solar power"),
        ("parameters.empty", None),
        ("parameters.languages", ["en", "de"]),
        ("steps.find.found < 5", True),
        ("steps['find'].found < 5 && steps.find.mean_score > 0.5", True),
        ("has(steps.research.found) ? steps.research.found : 0", 0),
        ("steps.research.status == 'completed'", False),
        ("has(steps.late) && steps.late.found > 1", False),
        ("context.tier in ['premium', 'enterprise']", True),
        ("parameters.languages.exists(l, l == 'de')", True),
        ("size(parameters.languages.filter(l, l != 'de'))", 1),
        ("double(parameters.limit) * 0.5", 20.0),
        ("{'topic': parameters.topic, 'n': [1, 2.5, true, null]}", {"topic": "solar power", "n": [1, 2.5, True, None]}),
        ("parameters.topic.matches('^solar')", True),
        ("'steps.nothing' + \"'context.nothing'\"", "steps.nothing'context.nothing'"),
        ("1 // parameters.nothing", 1),
    ],
)
def test_an_expression_has_the_value_that_cel_gives_it(source: str, expected: Json) -> None:
    assert expressions.value(source, VARIABLES) == expected


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        ("steps.find.found + parameters.limit", {("steps", "find", "found"), ("parameters", "limit")}),
        ("steps['find']['found'] > 1", {("steps", "find", "found")}),
        ("has(steps.find.found)", {("steps", "find", "found")}),
        ("parameters.topic.size() > 3", {("parameters", "topic")}),
        ("parameters.languages[0] == context . tier", {("parameters", "languages"), ("context", "tier")}),
        ("'x' in parameters", {("parameters",)}),
        ("'steps.find' == r'parameters\\topic'", set()),
        ("parameters.languages.all(steps_, steps_ != 'parameters.x')", {("parameters", "languages")}),
    ],
)
def test_the_values_that_an_expression_reads_are_known_beforehand(source: str, paths: set[tuple[str, ...]]) -> None:
    assert expressions.variables(expressions.compile(source)) == paths


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("steps.find.found >", "line 1, column 19"),
        ("steps.find.found > 3)", "line 1, column 21"),
        ("topic == 'x'", "uses 'topic', which is not known; use parameters.NAME"),
        ("size(steps) > 1", "write steps.STEP.NAME"),
        ("steps[parameters.topic].found > 1", "write steps.STEP.NAME"),
        ("parameters.languages.all(steps, steps == 'en')", "calls its loop variable 'steps'"),
        ("parameters.nothing > 1", "reads 'nothing', which is not there; ask has(...)"),
        ("steps.late.found > 1", "reads 'late', which is not there"),
        ("parameters.limit * 0.5", "write double(x)"),
        ("parameters.topic > 3", "write double(x)"),
        ("parameters.limit / 0", "cannot be computed: division by zero"),
        ("9223372036854775807 + 1", "cannot be computed"),
        ("1.0 / 0.0", "guard the division"),
        ("parameters.languages[7]", "index out of bounds"),
        ("parameters.topic.matches('(')", "cannot be computed"),
        ("timestamp('2026-01-01T00:00:00Z')", "is a datetime, which JSON cannot hold"),
        ("{1: 2}", "is a dict, which JSON cannot hold"),
        ("nonsense(1)", "cannot be computed"),
        ("parameters.languages.map(l, l)", "uses map, which is not available"),
        ("parameters.languages.all(a, parameters.languages.all(b, a == b))", "has 2 loops"),
        ("+".join(["1"] * 18), "has 17 additions and may have 16"),
        ("parameters.languages.all(l, l + 'x' == 'enx')", "has 1 additions and may have 0 beside a loop"),
        ("'" + "x" * 2000 + "'", "has 2002 characters and the limit is 2000"),
        ("(" * 300 + "1" + ")" * 300, "does not compile"),
    ],
)
def test_a_wrong_expression_is_explained(source: str, told: str) -> None:
    problem = refusal(source)
    assert problem.startswith(f"expression '{source[:20]}")
    assert told in problem
    assert len(problem) < 600


def test_a_condition_is_true_or_false_and_nothing_else() -> None:
    assert expressions.condition(expressions.compile("parameters.limit > 3"), VARIABLES) is True
    with pytest.raises(errors.TemplateError, match="is 40, and a condition must be true or false"):
        expressions.condition(expressions.compile("parameters.limit"), VARIABLES)


def test_a_loop_over_more_values_than_the_limit_is_refused() -> None:
    source = "parameters.items.all(i, i >= 0)"
    few: list[Json] = [1] * (expressions.LOOP_LIMIT - 1)
    many: list[Json] = [1] * expressions.LOOP_LIMIT
    assert expressions.value(source, {"parameters": {"items": few, "other": many}}) is True
    assert f"the limit is {expressions.LOOP_LIMIT}" in refusal(source, {"parameters": {"items": many}})


def test_the_worst_expression_that_is_allowed_ends_within_seconds() -> None:
    text = "x" * 30_000
    source = f"parameters.items.all(x, size([{','.join(['parameters.text'] * 115)}]) > 0)"
    items: list[Json] = [1] * (expressions.LOOP_LIMIT - 2)
    began = time.perf_counter()
    expressions.value(source, {"parameters": {"items": items, "text": text}})
    assert time.perf_counter() - began < 10
