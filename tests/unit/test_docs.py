"""What the documentation names is there: links, commands, settings, modules, tables, and the examples in it."""

import ast
import dataclasses
import functools
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.core
import typer.main
import yaml

from contracts import encoding, intelligence, messages, model, parameters, templates
from examples.word_count import word_count
from infra import checks, settings
from infra.llm import options as llm_options
from producer.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")])
OPERATING = ROOT / "docs" / "operating.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
SHIPPED = ROOT / "producer" / "templates" / "rss_intelligence.yaml"
LAYERS = ("contracts", "infra", "consumers", "producer")

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
VARIABLE = re.compile(r"(?:FACTORY|OPENAI)_[A-Z0-9_]*[A-Z0-9]")
PREFIX = re.compile(r"^(\$ )?([A-Z_]+=\S+ )*(\.venv/bin/)?")

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@functools.cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose(path: Path) -> str:
    """The document without its code blocks."""
    return FENCE.sub("", text(path))


def fences(path: Path, language: str) -> Iterator[str]:
    for _, name, body in FENCE.findall(text(path)):
        if name == language:
            yield textwrap.dedent(body)


def section(path: Path, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text(path), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{path.name} has no section '{title}'"
    return found[1]


def first_cells(table: str) -> Iterator[str]:
    """The names in the first column of a table."""
    for row in re.findall(r"^\| (`[^|]*)\|", table, re.MULTILINE):
        yield from SPAN.findall(row)


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands(path: Path, program: str) -> Iterator[list[str]]:
    """The words after the program wherever a code span or a line of a code block begins with it."""
    blocks = [*fences(path, ""), *re.findall(r"^ {4}\S.*$", prose(path), re.MULTILINE)]
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    spans = [" ".join(span.split()) for span in SPAN.findall(prose(path))]
    for line in [*lines, *spans]:
        words = PREFIX.sub("", line.partition(" #")[0]).split()
        if len(words) > 1 and words[0] == program:
            yield words[1:]


@documents
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(prose(document)):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name) if name else document
        assert path.exists(), f"{document.name} links to {target}, which does not exist"
        assert not anchor or anchor in anchors(path), f"{document.name} links to {target}: no such heading"


@functools.cache
def options(name: str) -> dict[str, set[str]]:
    """The options of a command under an empty name, or those of each of its subcommands."""
    factory = typer.main.get_command(app.build([name]))
    assert isinstance(factory, typer.core.TyperGroup)
    found = factory.commands[name]
    inner = found.commands if isinstance(found, typer.core.TyperGroup) else {"": found}
    return {key: {option for item in part.params for option in item.opts} | {"--help"} for key, part in inner.items()}


@documents
def test_commands_and_their_options_exist(document: Path) -> None:
    for words in commands(document, "factory"):
        shown = f"{document.name} says 'factory {' '.join(words)}'"
        name, rest = words[0].rstrip(","), words[1:]
        if name in ("--help", "-h"):
            continue
        assert name in app.COMMANDS, shown
        known = options(name)
        part = "" if "" in known else rest[0]
        assert part in known, shown
        assert {word for word in rest if re.fullmatch(r"-\w|--[a-z-]+", word)} <= known[part], shown


@documents
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", text(ROOT / "Makefile"), re.MULTILINE))
    for words in commands(document, "make"):
        assert words[0] in targets, f"{document.name} says 'make {words[0]}'; the Makefile has {sorted(targets)}"


@documents
def test_variables_exist(document: Path) -> None:
    known = set(VARIABLE.findall(text(ROOT / "infra" / "settings.py")))
    known |= set(VARIABLE.findall(text(ROOT / "infra" / "compose" / "compose.yaml")))
    assert set(VARIABLE.findall(text(document))) <= known


def test_every_setting_is_described_with_its_default() -> None:
    table = section(OPERATING, "Settings")
    named = set(VARIABLE.findall(text(ROOT / "infra" / "settings.py")))
    assert named == set(first_cells(table))
    rows = dict(re.findall(r"^\| `(FACTORY_\w+)` \| ([^|]+) \|", table, re.MULTILINE))
    for field in dataclasses.fields(settings.Settings):
        if field.default is not dataclasses.MISSING:
            default = field.default
            shown = f"{default:.12g}" if isinstance(default, int | float) else str(default)
            wanted = "none" if default in (frozenset(), "") else shown
            assert rows[f"FACTORY_{field.name.upper()}"].strip("`") == wanted
    for field in dataclasses.fields(llm_options.Options):
        if isinstance(field.default, int | float):
            assert rows[f"FACTORY_LLM_{field.name.upper()}"] == f"{field.default:.12g}"


@documents
def test_python_compiles(document: Path) -> None:
    for block in fences(document, "python"):
        compile(block, str(document), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def test_the_readme_quotes_the_example_as_it_is_and_stays_short() -> None:
    (quoted,) = fences(ROOT / "README.md", "python")
    assert quoted in text(ROOT / "examples" / "word_count" / "word_count.py")
    assert len(text(ROOT / "README.md").splitlines()) < 200


def test_the_smallest_job_is_a_job() -> None:
    (written,) = fences(ROOT / "docs" / "messages.md", "json")
    assert isinstance(encoding.decode("SubmitJob", written.encode()), messages.SubmitJob)


def described(path: Path) -> list[Any]:
    return [yaml.safe_load(block) for block in fences(path, "yaml")]


@documents
def test_templates_can_run(document: Path) -> None:
    specs = {spec.name: spec for spec in (*intelligence.STAGES, word_count.SPEC)}
    for found in described(document):
        if isinstance(found, dict) and "steps" in found:
            assert checks.check(templates.parse(found), specs) == []


def test_parts_of_the_shipped_template_are_quoted_as_they_are() -> None:
    shipped = yaml.safe_load(text(SHIPPED))
    quoted = [item for found in described(ROOT / "docs" / "templates.md") if isinstance(found, list) for item in found]
    assert len(quoted) == 3
    for item in quoted:
        assert item in (shipped["steps"] if "stage" in item else shipped["parameters"])


def test_the_default_retries_are_those_of_the_stages() -> None:
    (written,) = [found["retry"] for found in described(ROOT / "docs" / "templates.md") if "retry" in found]
    assert all(spec.retry == templates.Retry.model_validate(written) for spec in intelligence.STAGES)


@pytest.mark.parametrize(
    ("title", "described_model"),
    [
        ("The template", templates.Template),
        ("Parameters", parameters.Parameter),
        ("Steps", templates.Step),
        ("Retries and fallbacks", templates.Retry),
    ],
)
def test_every_field_of_a_template_is_described(title: str, described_model: type[model.Model]) -> None:
    assert set(first_cells(section(ROOT / "docs" / "templates.md", title))) == set(described_model.model_fields)


@documents
def test_named_modules_exist(document: Path) -> None:
    files = {path.relative_to(ROOT) for layer in (*LAYERS, "tests", "examples") for path in (ROOT / layer).rglob("*")}
    names = {path.name for path in files}
    for span in SPAN.findall(prose(document)):
        if re.fullmatch(r"[\w/]+\.(py|sql|yaml)", span):
            assert Path(span) in files or ("/" not in span and span in names), f"{document.name} names {span}"


def test_the_tables_are_those_of_the_database() -> None:
    migrations = ROOT / "infra" / "migrations" / "versions"
    created = re.compile(r"^CREATE TABLE ([\w.]+) \(", re.MULTILINE)
    made = {name for path in migrations.glob("*.sql") for name in created.findall(text(path))}
    assert set(first_cells(section(ARCHITECTURE, "Tables"))) == made


def test_the_events_of_the_log_are_logged() -> None:
    sources = "".join(text(path) for layer in ("consumers", "infra") for path in (ROOT / layer).rglob("*.py"))
    for event in first_cells(section(OPERATING, "Logs")):
        assert f'"{event}"' in sources, f"no process logs '{event}'"
