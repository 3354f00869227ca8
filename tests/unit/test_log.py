"""Lines of the log: one for each fact, readable by programs and people, and nothing in them that must not be there."""

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import pydantic
import pytest
import structlog

from contracts.errors import InvalidInputError, MessageError, OutageError, Reason
from infra import faults, log
from producer.cli import session

SECRETS = ("rabbit-secret", 'quoted "secret" / ü', "key-secret")
FORMS = ("json", "console")
HOSTILE = "first\nsecond\r\x1b[31mred\x9b\u2028\u2029\u202ereversed\u2066\x00\x7f end"
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

Lines = Callable[[], list[str]]
Start = Callable[[], Lines]


@pytest.fixture
def root() -> Iterator[None]:
    """Takes back what a test does to the standard logging."""
    library = logging.getLogger()
    handlers, level = library.handlers[:], library.level
    yield
    library.handlers[:] = handlers
    library.setLevel(level)


@pytest.fixture(params=FORMS)
def start(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], root: None) -> Start:
    """Begins to log in one of the two forms; what that gives tells what was logged since it was asked last."""

    def said() -> list[str]:
        text = capsys.readouterr().err
        assert not CONTROLS.search(text)
        if request.param == "json":
            for line in text.splitlines():
                assert {"timestamp", "level", "event", "process"} <= json.loads(line).keys()
        return text.splitlines()

    def begin() -> Lines:
        log.configure("worker", "info", request.param, SECRETS)
        return said

    return begin


def logger() -> Any:
    return structlog.get_logger()


def test_a_fact_is_one_line_with_its_values(start: Start) -> None:
    lines = start()
    logger().info("task_settled", outcome="completed", shard=3, seconds=0.25, trace=None)
    (line,) = lines()
    for part in ("task_settled", "outcome", "completed", "shard", "0.25", "worker", "info"):
        assert part in line


def test_json_holds_values_as_they_are(capsys: pytest.CaptureFixture[str], root: None) -> None:
    log.configure("worker", "info", "json", SECRETS)
    logger().warning("said", shard=3, seconds=0.25, trace=None, names=["a", 1], infinite=float("inf"), text="naïve")
    told = json.loads(capsys.readouterr().err)
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        **{"event": "said", "level": "warning", "process": "worker"},
        **{"shard": 3, "seconds": 0.25, "trace": None, "names": ["a", 1], "infinite": "inf", "text": "naïve"},
    }


@pytest.mark.parametrize("where", ["event", "value", "key", "list", "dict", "object", "library"])
def test_no_value_breaks_out_of_its_line(start: Start, where: str) -> None:
    lines = start()
    match where:
        case "event":
            logger().info(HOSTILE)
        case "value":
            logger().info("said", text=HOSTILE)
        case "key":
            logger().info("said", **{HOSTILE: 1})
        case "list":
            logger().info("said", texts=[HOSTILE, (HOSTILE,)])
        case "dict":
            logger().info("said", texts={HOSTILE: {HOSTILE: HOSTILE}})
        case "object":
            logger().info("said", error=OutageError(HOSTILE))
        case "library":
            logging.getLogger("library").warning("said %s", HOSTILE)
    (line,) = lines()
    assert "second" in line
    assert "reversed" in line


def test_a_value_cannot_pose_as_another(capsys: pytest.CaptureFixture[str], root: None) -> None:
    log.configure("worker", "info", "console", SECRETS)
    logger().info("said", text='a outcome=completed "quoted"', outcome="failed")
    line = capsys.readouterr().err
    assert re.sub('"[^"]*"', "", line).count("outcome=") == 1


@pytest.mark.parametrize("secret", [*SECRETS, "quoted%20%22secret%22%20%2F%20%C3%BC"])
def test_no_secret_of_the_settings_is_shown(start: Start, secret: str) -> None:
    lines = start()
    logger().info(
        f"said {secret}", text=f"before{secret}after", inside=[secret, {"key": secret}], failed=ValueError(secret)
    )
    logging.getLogger("library").warning("said %r", secret)
    logging.getLogger("library").error("said", exc_info=ValueError(secret))
    text = "\n".join(lines())
    assert "***" in text
    for spelling in (secret, json.dumps(secret)[1:-1], json.dumps(json.dumps(secret))[2:-2]):
        assert spelling not in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("amqp://factory:pass@host:5672/", "amqp://***@host:5672/"),
        ("see https://user@example.org/a@b and http://u:p@h", "see https://***@example.org/a@b and http://***@h"),
        ("postgresql://o:p%40w@[::1]/db", "postgresql://***@[::1]/db"),
        ("http://us\ner:pass@host/", "http://***@host/"),
        ("https://example.org/path", "https://example.org/path"),
    ],
)
def test_no_credentials_of_a_url_are_shown(start: Start, text: str, shown: str) -> None:
    lines = start()
    logger().info("said", text=text)
    logging.getLogger("library").warning("%s", text)
    for line in lines():
        assert shown in line


def test_long_values_are_cut(start: Start) -> None:
    lines = start()
    logger().info("said", text="x" * 1_000_000, many=list(range(100_000)), deep=[[[[[["y" * 9000]]]]]])
    (line,) = lines()
    assert len(line) < 6000


class Quoting(pydantic.BaseModel):
    """Refuses text, and quotes it."""

    number: int


def fail() -> None:
    """Raises an error that quotes what it was given, from another that does."""
    try:
        Quoting.model_validate({"number": "text of a feed"})
    except pydantic.ValidationError as error:
        raise ExceptionGroup("text of a feed", [ValueError("text of a feed")]) from error


def test_an_exception_is_told_by_its_type_and_place(start: Start) -> None:
    lines = start()
    try:
        fail()
    except ExceptionGroup:
        logger().exception("stage_raised", stage="effect")
        logging.getLogger("library").exception("failed")
    text = "\n".join(lines())
    assert "text of a feed" not in text
    for part in ("ExceptionGroup", "ValueError", "ValidationError", "test_log.py", " fail"):
        assert text.count(part) >= 2


def test_the_text_of_an_exception_forges_no_line(capsys: pytest.CaptureFixture[str], root: None) -> None:
    log.configure("worker", "info", "console")
    try:
        raise type("Odd\nError", (Exception,), {})
    except Exception:
        logger().exception("failed")
    first, *others = capsys.readouterr().err.splitlines()
    assert "failed" in first
    assert all(line.startswith("    ") for line in others)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (MessageError(Reason.INVALID_MESSAGE, "field 'topic' is 'quoted'"), "MessageError: invalid_message"),
        (InvalidInputError("field 'text' is 'quoted'"), "InvalidInputError: invalid_input"),
        (OutageError("the object store did not do its work"), "the object store did not do its work"),
        (ConnectionRefusedError(111, "refused"), "ConnectionRefusedError(111, 'refused')"),
        (asyncpg.DataError("invalid input for query argument $1: 'quoted'"), "DataError 22000"),
        (asyncpg.UndefinedTableError("relation does not exist"), "UndefinedTableError: relation does not exist"),
        (asyncpg.InterfaceError("connection is closed"), "InterfaceError('connection is closed')"),
        (KeyError("quoted"), "KeyError"),
    ],
)
def test_an_error_is_told_without_what_it_quotes(error: Exception, shown: str) -> None:
    assert faults.told(error) == shown


def test_an_error_of_the_code_is_told_with_its_place() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        fail()
    assert re.fullmatch(r"ExceptionGroup at .*test_log\.py:\d+ fail", faults.told(raised.value))


def test_while_a_screen_is_drawn_the_log_is_beside_it(capsys: pytest.CaptureFixture[str], root: None) -> None:
    told = io.StringIO()

    async def work() -> str:
        logger().warning("from the factory")
        logging.getLogger("aiormq").warning("from a library")
        return "done"

    assert session.run(work(), told) == "done"
    assert capsys.readouterr() == ("", "")
    assert [part in told.getvalue() for part in ("from the factory", "from a library")] == [True, True]
