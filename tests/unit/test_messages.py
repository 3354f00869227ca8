"""Messages of every version can be read for ever, and those that break a rule are refused with the field named."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import encoding, errors, messages, refs, tiers
from contracts.messages import Json

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.json"))
Document = dict[str, Json]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=100)
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200)
names = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
numbers = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.booleans() | st.integers(-(2**53), 2**53) | numbers | texts
documents = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4))
parameters = st.dictionaries(texts, documents, max_size=4)
inline = st.binary(max_size=200).map(lambda data: refs.inline(data.hex().encode()))
stored = st.builds(
    refs.DataRef,
    uri=st.just("s3://factory/acme/2026-11-21/x/fetch/0-1-ab.json.zst"),
    sha256=st.just("ab" * 32),
    size=st.integers(0, 2**40),
    encoding=st.sampled_from(["zstd", None]),
    records=st.none() | st.integers(0, 10**9),
    schema_name=st.none() | texts,
)
references = inline | stored
failures = st.builds(
    messages.ShardFailure,
    shard=st.integers(0, 10**6),
    error_class=st.sampled_from(errors.ErrorClass),
    explanation=texts,
    details=st.dictionaries(texts, texts, max_size=3),
)
joined = st.builds(
    messages.Joined,
    outputs=st.lists(references, max_size=3).map(tuple),
    failures=st.lists(failures, max_size=2).map(tuple),
)
contexts = st.builds(
    messages.TaskContext,
    client=keys,
    tier=st.sampled_from(tiers.Tier),
    template=names,
    template_version=st.integers(1, 100),
    quality=st.sampled_from(tiers.Quality),
    optimise_for=st.sampled_from(tiers.OptimiseFor),
    budget_left=st.none() | st.integers(0, 2**60),
)
task = {
    "execution_id": st.uuids(),
    "epoch": st.integers(1, 10**6),
    "step": names,
    "shard": st.integers(0, 10**6),
    "attempt": st.integers(1, 10**6),
}
every_message: st.SearchStrategy[messages.Message] = st.one_of(
    st.builds(
        messages.SubmitJob,
        submit_key=keys,
        client=keys,
        template=names,
        parameters=parameters,
        urgency=st.integers(0, 9),
        budget=st.none() | st.integers(0, 2**60),
    ),
    st.builds(
        messages.StageTask,
        **task,
        stage=names,
        context=contexts,
        parameters=parameters,
        inputs=st.builds(messages.Inputs, fields=st.dictionaries(names, references | joined, max_size=3)),
        manifest=st.none() | stored,
        timeout=st.floats(0.001, 1200),
    ),
    st.builds(
        messages.StageCompleted,
        **task,
        worker=keys,
        output=references,
        files=st.dictionaries(names, references, max_size=3),
        summary=st.dictionaries(texts, scalars, max_size=5),
        metrics=st.dictionaries(names, numbers, max_size=5),
    ),
    st.builds(
        messages.StageFailed,
        **task,
        worker=keys,
        error_class=st.sampled_from(errors.ErrorClass),
        explanation=texts,
        after=st.none() | st.floats(0, 86400),
    ),
    st.builds(
        messages.WorkerHeartbeat,
        worker=keys,
        sequence=st.integers(0, 2**60),
        stages=st.lists(names, max_size=3).map(tuple),
        capacity=st.integers(1, 100),
        in_flight=st.integers(0, 100),
        held=st.lists(st.builds(messages.TaskKey, *task.values()), max_size=5).map(tuple),
    ),
)


def read(path: Path) -> Document:
    document = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def refused(type_name: str | None, document: object) -> errors.MessageError:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(errors.MessageError) as caught:
        encoding.decode(type_name, body)
    return caught.value


def lost(old: object, new: object, path: str = "") -> Iterator[str]:
    """Paths at which something of the old document is missing from the new one, or differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name, value in old.items():
            yield from lost(value, new.get(name), f"{path}.{name}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, value in enumerate(old):
            yield from lost(value, new[index], f"{path}[{index}]")
    elif old != new:
        yield f"{path}: {old!r} became {new!r}"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_message_of_any_version_is_read_and_nothing_of_it_is_lost(path: Path) -> None:
    type_name = path.name.partition(".")[0]
    old = read(path)
    message = encoding.decode(type_name, path.read_bytes())
    new = json.loads(encoding.encode(message))
    assert list(lost(old, new)) == []
    assert encoding.decode(type_name, json.dumps(new).encode()) == message


@pytest.mark.parametrize("name", encoding.ALL)
def test_every_message_has_a_golden_file(name: str) -> None:
    assert any(path.name.startswith(f"{name}.v1.") for path in GOLDEN), f"add tests/golden/{name}.v1.minimal.json"


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_field_that_nobody_knows_is_refused_by_its_name(path: Path) -> None:
    error = refused(path.name.partition(".")[0], read(path) | {"colour": "red"})
    assert error.reason is errors.Reason.INVALID_MESSAGE
    assert "field 'colour' is 'red'" in str(error)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_version_that_this_reader_does_not_know_is_named(path: Path) -> None:
    error = refused(path.name.partition(".")[0], read(path) | {"version": 2, "colour": "red"})
    assert error.reason is errors.Reason.UNKNOWN_VERSION
    assert "has version 2; this reader knows version 1" in str(error)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_message_over_the_limit_is_refused(path: Path) -> None:
    document = read(path) | {"colour": "x" * encoding.LIMIT}
    error = refused(path.name.partition(".")[0], document)
    assert error.reason is errors.Reason.TOO_LARGE
    assert f"the limit is {encoding.LIMIT}" in str(error)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_missing_field_is_named(path: Path) -> None:
    type_name = path.name.partition(".")[0]
    document = read(path)
    for name, field in encoding.ALL[type_name].model_fields.items():
        if field.is_required():
            error = refused(type_name, {key: value for key, value in document.items() if key != name})
            assert f"field '{name}'" in str(error)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_fields_with_a_default_may_be_left_out(path: Path) -> None:
    type_name = path.name.partition(".")[0]
    message = encoding.decode(type_name, path.read_bytes())
    short = message.model_dump_json(exclude_defaults=True).encode()
    assert encoding.decode(type_name, short) == message


@pytest.mark.parametrize("type_name", [None, "", "SubmitJobs", "Message"])
def test_an_unknown_type_is_refused_with_the_types_there_are(type_name: str | None) -> None:
    error = refused(type_name, {})
    assert error.reason is errors.Reason.UNKNOWN_TYPE
    assert "SubmitJob" in str(error)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"version": {}}', b"[" * 5000])
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    assert refused("SubmitJob", body).reason is errors.Reason.INVALID_MESSAGE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("template", "Not A Name"),
        ("client", ""),
        ("urgency", 10),
        ("budget", -1),
        ("quality", "best"),
        ("template_version", 0),
        ("parameters", ["topic"]),
    ],
)
def test_a_wrong_value_is_named_with_its_field(field: str, value: Json) -> None:
    job = {"submit_key": "1", "client": "acme", "template": "report", field: value}
    assert f"field '{field}' is {value!r}" in str(refused("SubmitJob", job))


@given(every_message)
def test_what_was_encoded_decodes_to_the_same(message: messages.Message) -> None:
    assert encoding.decode(type(message).__name__, encoding.encode(message)) == message


@given(st.integers(0, 4 * encoding.LIMIT))
def test_nothing_over_the_limit_is_ever_encoded(size: int) -> None:
    job = messages.SubmitJob(submit_key="1", client="acme", template="report", parameters={"text": "ü" * (size // 2)})
    if len(job.model_dump_json(exclude_none=True).encode()) <= encoding.LIMIT:
        assert len(encoding.encode(job)) <= encoding.LIMIT
    else:
        with pytest.raises(errors.MessageError, match="the limit is") as caught:
            encoding.encode(job)
        assert caught.value.reason is errors.Reason.TOO_LARGE


@given(st.binary(max_size=300))
def test_no_body_does_worse_than_be_refused(body: bytes) -> None:
    with pytest.raises(errors.MessageError):
        encoding.decode("StageTask", body)


def test_the_identity_of_an_attempt_is_in_every_message_about_it() -> None:
    execution = uuid.UUID(int=7)
    accepted = messages.StageAccepted(execution_id=execution, epoch=2, step="fetch", shard=3, attempt=4, worker="w")
    assert accepted.key == messages.TaskKey(execution, 2, "fetch", 3, 4)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_cannot_write_never_enters_a_message(number: float) -> None:
    (path,) = [path for path in GOLDEN if path.name == "StageCompleted.v1.minimal.json"]
    document = json.loads(path.read_text())
    for field in ("summary", "metrics"):
        with pytest.raises(pydantic.ValidationError, match="finite"):
            messages.StageCompleted.model_validate({**document, field: {"share": number}})
