"""What people are told about a template that cannot run."""

import copy
from typing import Any

import pytest

from contracts import intelligence, stages, templates
from infra import checks

SPECS: dict[str, stages.StageSpec] = {spec.name: spec for spec in intelligence.STAGES}
GOOD: dict[str, Any] = {
    "name": "pipeline",
    "parameters": [
        {"name": "topic", "type": "string", "required": True},
        {"name": "catalogue", "type": "document", "required": True},
        {"name": "limit", "type": "integer", "default": 40},
    ],
    "steps": [
        {
            "name": "find",
            "stage": "rss_librarian",
            "inputs": {"catalogue": "parameters.catalogue"},
            "parameters": {"topic": "parameters.topic", "max_sources": "parameters.limit"},
        },
        {
            "name": "research",
            "stage": "topic_researcher",
            "depends_on": ["find"],
            "when": "steps.find.found < 5 && context.tier != 'basic'",
            "inputs": {"catalogue": "parameters.catalogue", "known": "find"},
            "parameters": {"topic": "parameters.topic"},
        },
        {
            "name": "fetch",
            "stage": "feed_fetcher",
            "depends_on": ["find", "research"],
            "fan_out": {"over": ["find", "research"], "field": "source"},
            "cost": "double(parameters.limit) * 0.1",
        },
        {
            "name": "classify",
            "stage": "content_classifier",
            "depends_on": ["fetch", "research"],
            "inputs": {"feeds": "fetch", "plan": "research"},
            "parameters": {"topic": "parameters.topic"},
        },
        {
            "name": "report",
            "stage": "report_writer",
            "depends_on": ["classify"],
            "inputs": {"articles": "classify"},
            "parameters": {"topic": "parameters.topic"},
            "deliver": ["json"],
        },
    ],
}


def problems(change: dict[str, dict[str, Any]]) -> list[str]:
    """What is said of the good template with these fields of its steps replaced."""
    document = copy.deepcopy(GOOD)
    for step in document["steps"]:
        step.update(change.get(step["name"], {}))
    return checks.check(templates.parse(document), SPECS)


def test_a_template_that_can_run_has_no_problems() -> None:
    assert problems({}) == []


@pytest.mark.parametrize(
    ("step", "change", "told"),
    [
        ("find", {"stage": "rss_librarion"}, "stage 'rss_librarion' is not known; install the package"),
        ("find", {"stage": "rss_librarion"}, "or use 'rss_librarian'"),
        ("find", {"fallback": ["spare"]}, "stage 'spare' is not known"),
        ("find", {"fallback": ["feed_fetcher"]}, "which stage 'feed_fetcher' requires"),
        ("research", {"when": "steps.find.found <"}, "line 1, column 19"),
        ("research", {"when": "found < 5"}, "uses 'found', which is not known"),
        ("research", {"when": "steps.fidn.found < 5"}, "there is no 'fidn' in steps; use 'find'"),
        ("research", {"when": "steps.fetch.found < 5"}, "'fetch' need not be over by then; add it to depends_on"),
        ("research", {"when": "parameters.limt < 5"}, "there is no 'limt' in parameters; use 'limit'"),
        ("research", {"when": "context.teir == 'basic'"}, "there is no 'teir' in context; use 'tier'"),
        ("fetch", {"cost": "steps.find.found * 1.0"}, "a cost may use parameters and context only"),
        ("find", {"parameters": {"max_source": "3"}}, "has no such field; use 'max_sources'"),
        ("find", {"parameters": {}}, "nothing fills 'topic', which stage 'rss_librarian' requires"),
        ("find", {"inputs": {}}, "nothing fills 'catalogue'"),
        ("fetch", {"fan_out": {"over": ["find", "research"], "field": "feed"}}, "fills 'feed'"),
        ("fetch", {"parameters": {"source": "parameters.topic"}}, "fills 'source' more than once"),
        ("report", {"deliver": ["pdf"]}, "deliver has 'pdf', which stage 'report_writer' does not make; use one of:"),
        ("classify", {"inputs": {"feeds": "research"}}, "gives ResearchPlan; stage 'content_classifier' takes"),
        ("classify", {"inputs": {"feeds": "fetch", "plan": "fetch"}}, "inputs.plan is all shards of 'fetch'"),
    ],
)
def test_a_template_that_cannot_run_is_explained(step: str, change: dict[str, Any], told: str) -> None:
    found = problems({step: change})
    assert any(told in problem for problem in found), found
    assert all(problem.startswith(f"step '{step}': ") for problem in found), found


def test_every_problem_is_told_at_once() -> None:
    assert len(problems({"find": {"stage": "nothing", "cost": "x"}, "report": {"parameters": {}}})) == 3
