"""The examples are as short as they say, and the stage among them works."""

import tomllib
from pathlib import Path

import yaml

from consumers import harness
from consumers.analysis import local
from contracts import intelligence, registry, templates
from examples.word_count import word_count
from infra import checks

EXAMPLES = Path(__file__).parents[2] / "examples"
WORD_COUNT = EXAMPLES / "word_count"


def code_lines(path: Path) -> int:
    return sum(bool(line.strip()) for line in path.read_text(encoding="utf-8").splitlines())


def test_a_publisher_is_about_twenty_lines_and_uses_none_of_our_code() -> None:
    text = (EXAMPLES / "publish.py").read_text(encoding="utf-8")
    assert code_lines(EXAMPLES / "publish.py") <= 30
    assert not any(layer in text for layer in ("contracts", "infra", "producer", "consumers"))


def test_a_stage_is_thirty_lines_and_imports_contracts_only() -> None:
    assert code_lines(WORD_COUNT / "word_count.py") <= 30
    assert "from contracts import model, stages" in (WORD_COUNT / "word_count.py").read_text(encoding="utf-8")


async def test_the_stage_works_and_its_template_fits_it() -> None:
    announced = tomllib.loads((WORD_COUNT / "pyproject.toml").read_text(encoding="utf-8"))
    assert announced["project"]["entry-points"][registry.ENTRY_POINTS] == {"word_count": "word_count"}
    task = word_count.Text(text="To be, or not to be")
    result = await harness.run(word_count, task, analyst=local.packaged())
    assert result.output.words == 6
    assert [(word.word, word.times) for word in result.output.records[:2]] == [("to", 2), ("be", 2)]
    template = templates.parse(yaml.safe_load((WORD_COUNT / "template.yaml").read_text(encoding="utf-8")))
    specs = {spec.name: spec for spec in (*intelligence.STAGES, word_count.SPEC)}
    assert checks.check(template, specs) == []
