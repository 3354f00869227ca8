"""The templates and the catalogue that come with the project are valid and fit the stages."""

from pathlib import Path

import pytest
import yaml

from contracts import errors, intelligence, parameters, templates, tiers
from contracts.messages import Json
from infra import expressions
from producer import datasets

FOLDER = Path(__file__).parents[2] / "producer" / "templates"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SPECS = {spec.name: spec for spec in intelligence.STAGES}


def load(name: str) -> templates.Template:
    return templates.parse(yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8")))


def variables(template: templates.Template, tier: tiers.Tier, **given: Json) -> dict[str, Json]:
    resolved = parameters.resolve(template.parameters, tier, {"topic": "wind power", **given})
    steps: dict[str, Json] = {
        step.name: {"status": "completed", "found": 3, "considered": 100, "mean_score": 0.5} for step in template.steps
    }
    return {"parameters": resolved, "context": {"tier": tier.value, "quality": "standard"}, "steps": steps}


def test_both_pipelines_are_shipped() -> None:
    assert NAMES == ["basic_research", "rss_intelligence"]


@pytest.mark.parametrize("name", NAMES)
def test_a_template_is_named_as_its_file_and_explains_itself(name: str) -> None:
    template = load(name)
    assert template.name == name
    assert template.title
    assert template.description
    assert all(parameter.description for parameter in template.parameters)


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_allowed_values(name: str) -> None:
    for parameter in load(name).parameters:
        if parameter.default is not None and parameter.type != "document":
            assert parameters.check(parameter, parameter.default) == [], parameter.name


@pytest.mark.parametrize("name", NAMES)
def test_steps_fill_the_fields_that_their_stages_have(name: str) -> None:
    template = load(name)
    for step in template.steps:
        spec = SPECS[step.stage]
        fields = spec.input.model_fields
        given = {*step.inputs, *step.parameters, *([step.fan_out.field] if step.fan_out else [])}
        assert given <= set(fields), step.name
        assert {field for field, info in fields.items() if info.is_required()} <= given, step.name
        assert set(step.deliver) <= {"json", *spec.formats}, step.name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tier", list(tiers.Tier))
def test_expressions_have_values_of_the_right_kind(name: str, tier: tiers.Tier) -> None:
    template = load(name)
    known = variables(template, tier)
    for step in template.steps:
        cost = expressions.value(step.cost, known)
        assert isinstance(cost, float)
        assert cost > 0
        assert isinstance(expressions.value(step.when or "true", known), bool)
        for field, source in step.parameters.items():
            value = expressions.value(source, known)
            schema = SPECS[step.stage].input.model_json_schema()["properties"][field]
            assert value is not None or "default" in schema, field


def test_the_researcher_runs_when_too_little_was_found_or_platforms_are_to_be_asked() -> None:
    template = load("rss_intelligence")
    step = template.step("research_topic")

    def found(minimum: int, ask: bool) -> tuple[object, object]:
        known = variables(template, tiers.Tier.STANDARD, minimum_sources=minimum, ask_platforms=ask)
        return expressions.value(step.when or "", known), expressions.value(step.parameters["max_sources"], known)

    assert found(4, ask=False) == (True, 4)
    assert found(3, ask=False)[0] is False
    assert found(3, ask=True) == (True, 0)


@pytest.mark.parametrize(("tier", "most"), [(tiers.Tier.BASIC, 40), (tiers.Tier.STANDARD, 200)])
@pytest.mark.parametrize("name", NAMES)
def test_basic_clients_read_at_most_forty_feeds(name: str, tier: tiers.Tier, most: int) -> None:
    template = load(name)
    source = template.step("find_sources").parameters["max_sources"]
    assert expressions.value(source, variables(template, tier, max_sources=200)) == most
    assert expressions.value(source, variables(template, tier, max_sources=7)) == 7


@pytest.mark.parametrize("topic", ["", " ", "x", "   y  "])
def test_a_topic_needs_two_letters(topic: str) -> None:
    with pytest.raises(errors.TemplateError, match="topic"):
        parameters.resolve(load("rss_intelligence").parameters, tiers.Tier.BASIC, {"topic": topic})


def test_the_report_is_delivered_in_three_formats() -> None:
    assert load("rss_intelligence").step("build_report").deliver == ("html", "markdown", "json")


def test_the_catalogue_is_clean() -> None:
    entries = datasets.packaged().records
    assert len(entries) > 1400
    assert len({entry.url for entry in entries}) == len(entries)
    assert [entry.url for entry in entries] == sorted(entry.url for entry in entries)
    assert all(entry.url.startswith(("http://", "https://")) and entry.title.strip() for entry in entries)
    assert all(2 <= len(entry.language) <= 3 and entry.language.islower() for entry in entries)
    assert all(entry.topics for entry in entries)


def test_a_broken_catalogue_is_explained() -> None:
    with pytest.raises(errors.FactoryError, match="lacks the column 'topics'"):
        datasets.read(["url\ttitle\tlanguage\tsite"])
    with pytest.raises(errors.FactoryError, match="line 3 of the catalogue: url is 'ftp://x'"):
        datasets.read(["url\ttitle\ttopics\tlanguage\tsite", "https://a.example\tA\tx\ten\t", "ftp://x\tB\tx\ten\t"])


def test_a_catalogue_is_read_from_a_file_and_sorted(tmp_path: Path) -> None:
    path = tmp_path / "feeds.tsv"
    rows = [
        "url\ttitle\ttopics\tlanguage\tsite",
        "https://b.example\tB\tx/y,z\ten\tb.example",
        "https://a.example\t\t\t\t",
    ]
    path.write_text("\n".join([*rows, rows[1]]), "utf-8")
    first, second = datasets.read(path).records
    assert (first.url, first.title, first.topics) == ("https://a.example", "https://a.example", ())
    assert (second.site, second.topics) == ("b.example", ("x/y", "z"))
