"""Templates in files: every mistake is named with its file, and what is written out reads back as the same."""

from pathlib import Path

import pytest
import yaml

from contracts import templates
from contracts.errors import TemplateError
from producer import definitions

MINIMAL = """
name: small
steps:
  - {name: find, stage: topic_researcher, inputs: {catalogue: parameters.catalogue}, parameters: {topic: "'rust'"}}
parameters:
  - {name: catalogue, type: document, default: {dataset: catalogue}}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "template.yaml"
    path.write_text(text)
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(TemplateError) as caught:
        definitions.load(path)
    assert all(problem.startswith(f"{path}: ") for problem in caught.value.problems)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


@pytest.mark.parametrize("path", definitions.packaged(), ids=lambda path: path.stem)
def test_packaged_templates_are_sound_and_named_as_their_files(path: Path) -> None:
    template = definitions.load(path)
    assert template.name == path.stem
    assert all(step.timeout and step.retry for step in template.steps)


@pytest.mark.parametrize("path", definitions.packaged(), ids=lambda path: path.stem)
def test_a_written_template_reads_back_as_the_same(path: Path) -> None:
    template = definitions.load(path)
    text = definitions.write(template)
    assert templates.parse(yaml.safe_load(text)) == template
    assert "dataset: catalogue" in text
    assert definitions.compare(template, templates.parse(yaml.safe_load(text)), "a", "b") == []


def test_timeout_and_retry_come_from_the_stage_unless_the_step_has_its_own(tmp_path: Path) -> None:
    (step,) = definitions.load(written(tmp_path, MINIMAL)).steps
    assert (step.timeout, step.retry) == (60.0, templates.Retry())
    own = MINIMAL.replace("stage: topic_researcher", "stage: topic_researcher, timeout: 7, retry: {attempts: 1}")
    (step,) = definitions.load(written(tmp_path, own)).steps
    assert step.timeout == 7
    assert step.retry is not None
    assert step.retry.attempts == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("stage: topic_researcher", "stage: topic_reseacher"), "use 'topic_researcher'"),
        (("dataset: catalogue", "dataset: katalog"), "there is no such dataset, use one of: catalogue"),
        (("type: document, default: {dataset: catalogue}", "type: document, default: {a: 1}"), "reference of a stored"),
        (("name: small", "name: Small"), "field 'name' is 'Small'"),
        (("\"'rust'\"", '"nothing.here"'), "'nothing'"),
        (("steps:", "steps: ["), "is not YAML"),
        (("name: small", "name: &a small\ntitle: *a"), "has the alias '*a'"),
        (("name: small", "name: small\ntitle: " + "[" * 5000 + "]" * 5000), "nested deeper than 50 levels"),
        (("name: small", "#" * definitions.SIZE_LIMIT), "the limit is 262144"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    path = written(tmp_path, MINIMAL.replace(*change))
    assert said in "\n".join(problems(path))


def test_a_default_that_its_own_parameter_forbids_is_refused(tmp_path: Path) -> None:
    text = MINIMAL + "  - {name: number, type: integer, default: 9, maximum: 5}\n"
    (problem,) = problems(written(tmp_path, text))
    assert problem.endswith("default of parameter 'number' is 9; give at most 5")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    assert "give the path of a YAML file" in problems(tmp_path / "missing.yaml")[0]
    path = written(tmp_path, "")
    path.write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8" in problems(path)[0]


def test_a_comparison_shows_what_changed_and_not_the_version(tmp_path: Path) -> None:
    old = definitions.load(written(tmp_path, MINIMAL))
    new = definitions.load(written(tmp_path, MINIMAL.replace("'rust'", "'python'"))).model_copy(update={"version": 5})
    lines = definitions.compare(old, new, "old", "new")
    assert lines[:2] == ["--- old", "+++ new"]
    assert [line for line in lines[2:] if line[0] in "+-"] == ["-    topic: '''rust'''", "+    topic: '''python'''"]
