"""References to documents."""

import hashlib

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import refs

SHA256 = "ab" * 32


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=1000))
def test_an_inline_reference_carries_its_document_and_how_to_know_it(text: str) -> None:
    document = text.encode()
    ref = refs.DataRef.model_validate_json(refs.inline(document, schema="Report", records=2).model_dump_json())
    assert (ref.data or "").encode() == document
    assert (ref.size, ref.sha256) == (len(document), hashlib.sha256(document).hexdigest())
    assert (ref.uri, ref.schema_name, ref.records, ref.encoding) == ("inline:", "Report", 2, None)


def test_the_limit_counts_bytes_not_letters() -> None:
    assert refs.inline(b"x" * 4096).size == 4096
    with pytest.raises(ValueError, match="4097 bytes is too large to travel inline"):
        refs.inline(b"x" * 4097)
    with pytest.raises(ValueError, match="4098 bytes"):
        refs.inline("é".encode() * 2049)


def test_what_is_no_text_does_not_travel_inline() -> None:
    with pytest.raises(UnicodeDecodeError):
        refs.inline(b"\xff\xfe")


def test_the_schema_is_called_schema_in_json() -> None:
    assert '"schema":"Report"' in refs.inline(b"{}", schema="Report").model_dump_json()


@pytest.mark.parametrize(
    "fields",
    [
        {"uri": "inline:"},
        {"uri": "s3://factory/key", "data": "{}"},
        {"uri": "s3://factory"},
        {"uri": "s3:///key"},
        {"uri": "https://example.org/key"},
        {"uri": "file:///etc/passwd"},
        {"uri": "s3://factory/key", "sha256": "AB" * 32},
        {"uri": "s3://factory/key", "sha256": "ab"},
        {"uri": "s3://factory/key", "size": -1},
        {"uri": "s3://factory/key", "encoding": "gzip"},
        {"uri": "s3://factory/" + "k" * 1024},
        {"uri": "s3://factory/key", "colour": "red"},
    ],
    ids=str,
)
def test_a_reference_that_cannot_be_followed_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        refs.DataRef.model_validate({"sha256": SHA256, "size": 2} | fields)
