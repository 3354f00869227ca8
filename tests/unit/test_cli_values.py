"""Parameter values as people write them on a command line or in a file."""

from pathlib import Path

import pytest

from contracts import artifacts, refs, templates
from contracts.errors import FactoryError
from producer import definitions, values

TEMPLATE = templates.parse(
    {
        "name": "typed",
        "steps": [{"name": "find", "stage": "rss_librarian", "inputs": {"catalogue": "parameters.document"}}],
        "parameters": [
            {"name": name, "type": name} for name in ("string", "integer", "number", "boolean", "list", "document")
        ],
    }
)
REFERENCE = refs.inline(b"{}", schema="Catalogue")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("string", "7", "7"),
        ("string", "", ""),
        ("integer", "7", 7),
        ("integer", "-7", -7),
        ("number", "0.5", 0.5),
        ("boolean", "yes", True),
        ("boolean", "False", False),
        ("list", "en, de,,fr ", ["en", "de", "fr"]),
        ("list", '["a,b", 1]', ["a,b", 1]),
        ("list", "", []),
        ("document", "@~", values.File(Path.home())),
        ("document", REFERENCE.model_dump_json(), REFERENCE.model_dump(mode="json", exclude_none=True)),
    ],
)
def test_a_value_is_read_by_its_declared_type(name: str, text: str, value: values.Value) -> None:
    parsed = values.parse(TEMPLATE, name, text)
    assert (type(parsed), parsed) == (type(value), value)


@pytest.mark.parametrize(
    ("name", "text", "remedy"),
    [
        ("integer", "7.5", "give a whole number"),
        ("number", "much", "give a number"),
        ("boolean", "maybe", "give true or false"),
        ("list", "[1", "give values separated by commas, or a JSON list"),
        ("document", "catalogue.json", "give @FILE, or the reference of a stored document as JSON"),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_remedy(name: str, text: str, remedy: str) -> None:
    with pytest.raises(FactoryError) as caught:
        values.parse(TEMPLATE, name, text)
    assert str(caught.value) == f"parameter '{name}' is '{text}'; {remedy}"


def test_an_unknown_parameter_is_answered_with_those_there_are() -> None:
    with pytest.raises(FactoryError, match="has no parameter 'topik'; it has: string, integer"):
        values.parse(TEMPLATE, "topik", "x")


def test_assignments_need_an_equals_sign_and_keep_the_others() -> None:
    assert values.assignments(["a=b=c", " d =e"]) == {"a": "b=c", "d": "e"}
    with pytest.raises(FactoryError, match="write it as name=value"):
        values.assignments(["topic"])


def test_a_file_of_parameters_keeps_yaml_types_and_reads_texts_by_declaration(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("string: words\ninteger: 5\nlist: [en, de]\nnumber: '0.5'\ndocument: '@x.json'\n")
    assert values.of_file(TEMPLATE, path) == {
        "string": "words",
        "integer": 5,
        "list": ["en", "de"],
        "number": 0.5,
        "document": values.File(Path("x.json")),
    }
    path.write_text("- a\n")
    with pytest.raises(FactoryError, match="give one name: value pair a line"):
        values.of_file(TEMPLATE, path)


def test_a_document_parameter_has_the_type_that_its_step_reads() -> None:
    assert values.document_type(TEMPLATE, "document") is artifacts.Catalogue
    rss = definitions.load(next(path for path in definitions.packaged() if path.stem == "rss_intelligence"))
    assert values.document_type(rss, "catalogue") is artifacts.Catalogue
    with pytest.raises(FactoryError, match="reads parameter 'string'"):
        values.document_type(TEMPLATE, "string")
