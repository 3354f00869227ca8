"""Trace contexts: what counts as one, what is made where there is none, and that off means that nothing happens."""

import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import TransientError
from infra import exporter, tracing
from infra.tracing import Kind

ROOT = Path(__file__).parents[2]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize("given", [GOOD, f"00-{TRACE}-{PARENT}-00", f"00-{TRACE}-{PARENT}-03"])
def test_a_traceparent_is_kept_as_it_is(given: str) -> None:
    assert tracing.valid(given) == given
    assert tracing.trace_id(given) == TRACE


@pytest.mark.parametrize("given", [f"01-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01-what-comes-later"])
def test_one_of_a_later_version_counts_as_far_as_it_is_known(given: str) -> None:
    assert tracing.valid(given) == GOOD


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        7,
        GOOD.encode(),
        GOOD.upper(),
        GOOD[:-1],
        f" {GOOD}",
        f"{GOOD}\n",
        f"{GOOD}-more",
        f"01-{TRACE}-{PARENT}-01more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}-0g",
        f"00-{TRACE[:-1]}٣-{PARENT}-01",
        f"{GOOD}{'x' * 100_000}",
        "\x1b[31m\u2028",
    ],
)
def test_what_is_none_counts_as_none(given: object) -> None:
    assert tracing.valid(given) is None


def test_a_trace_that_begins_here_has_an_id_of_its_own_and_is_recorded_by_nobody() -> None:
    made = {tracing.fresh() for _ in range(100)}
    assert len({tracing.trace_id(found) for found in made}) == 100
    assert all(tracing.valid(found) == found and found.endswith("-00") for found in made)


async def test_without_an_endpoint_no_span_is_made() -> None:
    async with exporter.exporting("test", "", 1.0):
        assert not tracing.on()
        with tracing.start("work", Kind.CONSUMER, GOOD, {}) as span, tracing.child("part") as part:
            span.note({"factory.step": "a"})
            span.fail("transient")
        assert (span.traceparent, part.traceparent) == (None, None)


def recorded(traceparent: str | None) -> bool:
    assert traceparent is not None
    return bool(int(traceparent[-2:], 16) & 1)


async def test_a_span_belongs_to_the_trace_of_its_parent() -> None:
    async with exporter.exporting("test", "http://127.0.0.1:9", 0.0):
        span = tracing.start("work", Kind.CONSUMER, GOOD, {})
        alone = tracing.start("alone", Kind.CONSUMER, "no traceparent", {})
        assert tracing.child("outside") is tracing.NONE
    assert tracing.trace_id(span.traceparent) == TRACE
    assert span.traceparent != GOOD
    assert recorded(span.traceparent), "whoever began the trace has decided"
    assert tracing.trace_id(alone.traceparent) not in (None, TRACE)
    assert not recorded(alone.traceparent)


async def test_what_nobody_wants_recorded_goes_on_as_it_came() -> None:
    unwanted = f"00-{TRACE}-{PARENT}-00"
    async with exporter.exporting("test", "http://127.0.0.1:9", 1.0):
        with tracing.start("work", Kind.CONSUMER, unwanted, {}) as span:
            assert tracing.child("part") is tracing.NONE
    assert span.traceparent == unwanted


def test_an_error_is_told_by_its_kind_and_not_by_its_text() -> None:
    assert tracing.error_class(TransientError("text of a feed")) == "transient"
    assert tracing.error_class(ValueError("text of a feed")) == "ValueError"


@pytest.mark.parametrize("process", ["consumers.coordinator_process", "consumers.worker_process", "producer.client"])
def test_no_process_loads_the_library_of_traces_by_itself(process: str) -> None:
    program = f"import sys, {process}; print([name for name in sys.modules if 'opentelemetry' in name])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
