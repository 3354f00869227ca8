"""What people and programs read of an execution."""

import dataclasses
import datetime
import io
import json
from typing import Any
from uuid import UUID

import pytest
import rich.console

from contracts import refs
from contracts.states import ExecutionStatus, StepStatus
from contracts.tiers import Tier
from infra import views
from producer import metering
from producer.cli import output, tree
from producer.watching import Progress
from tests.unit import looks

ID = UUID(int=7)
NOW = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)


def execution(status: ExecutionStatus, seconds: float, explanation: str = "") -> views.Execution:
    return views.Execution(ID, "acme", Tier.PREMIUM, "daily", 3, status, 5, NOW, None, None, explanation, seconds)




def step(name: str, status: StepStatus, **fields: Any) -> views.Step:
    return dataclasses.replace(looks.STEP, step=name, status=status, **fields)


FAN_OUT = views.Shards(total=20, done=12, failed=2, running=5, retries=1)


def test_values_of_every_kind_have_a_form_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    reference = refs.inline(b"{}", schema="Report")
    item = views.Deliverable("build", "html", reference, NOW)
    output.document({"id": ID, "items": [item], "sets": frozenset({"b", "a"}), "status": ExecutionStatus.FAILED})
    assert json.loads(capsys.readouterr().out) == {
        "id": str(ID),
        "items": [
            {
                "step": "build",
                "format": "html",
                "ref": reference.model_dump(mode="json", exclude_none=True),
                "created_at": NOW.isoformat(),
            }
        ],
        "sets": ["a", "b"],
        "status": "failed",
    }
    with pytest.raises(TypeError, match="object has no form in JSON"):
        output.document(object())


@pytest.mark.parametrize(
    ("number", "text"), [(None, ""), (0.04, "0.0 s"), (99.94, "99.9 s"), (100, "1 min 40 s"), (7260, "2 h 01 min")]
)
def test_durations_are_short(number: float | None, text: str) -> None:
    assert output.seconds(number) == text


def test_lines_tell_each_change_once() -> None:
    lines = tree.Lines()
    first = Progress(
        execution(ExecutionStatus.RUNNING, 2.0),
        [
            step("find", StepStatus.COMPLETED, summary={"found": 20}),
            step("read", StepStatus.RUNNING, fanned_out=True, shards=FAN_OUT),
            step("tell", StepStatus.PENDING),
        ],
        [],
    )
    assert list(lines.news(first)) == [
        "    2.0 s  find: completed (found 20)",
        "    2.0 s  read: running (12/20, 2 failed, 1 retry)",
    ]
    assert list(lines.news(first)) == []
    last = Progress(
        execution(ExecutionStatus.FAILED, 3.0, "step 'read' failed"),
        [
            first.steps[0],
            step("read", StepStatus.FAILED, error_class="transient", error="no answer", retries=2),
            step("tell", StepStatus.CANCELLED),
        ],
        [views.Deliverable("find", "json", refs.inline(b"{}"), NOW)],
    )
    assert list(lines.news(last)) == [
        "    3.0 s  read: failed (2 retries, transient: no answer)",
        "    3.0 s  tell: cancelled",
        "    3.0 s  failed after 3.0 s: step 'read' failed",
        "    3.0 s  find: json, 2 B",
    ]


def test_the_tree_shows_steps_in_order_with_a_bar_for_what_runs() -> None:
    progress = Progress(
        execution(ExecutionStatus.RUNNING, 65.0),
        [
            step("find", StepStatus.COMPLETED),
            step("read", StepStatus.RUNNING, fanned_out=True, shards=FAN_OUT),
            step("tell", StepStatus.RUNNING, fraction=0.5, note="half [way]"),
        ],
        [],
    )
    console = rich.console.Console(file=io.StringIO(), width=120, record=True)
    console.print(tree.render(progress))
    lines = console.export_text().splitlines()
    assert lines[0].startswith("daily v3 for acme (premium)  running  65.0 s")
    assert [line.split()[2] for line in lines[1:]] == ["find", "read", "tell"]
    assert "━" in lines[2]
    assert lines[2].rstrip().endswith("12/20, 2 failed, 1 retry")
    assert "━" in lines[3]
    assert lines[3].rstrip().endswith("half [way]")
    assert "━" not in lines[1]


def test_a_tally_counts_bodies_and_each_document_once() -> None:
    one, other = refs.inline(b"{}"), refs.DataRef(uri="s3://b/k", sha256="0" * 64, size=5000)
    dumped = [ref.model_dump(mode="json", exclude_none=True) for ref in (one, other)]
    tally = metering.Tally()
    tally.add(json.dumps({"inputs": {"fields": {"a": {"outputs": dumped}}}}).encode())
    tally.add(json.dumps({"output": dumped[1], "manifest": {**dumped[1], "sha256": "1" * 64}}).encode())
    assert tally.number == 2
    assert tally.documents == {one.sha256: 2, other.sha256: 5000}
    assert tally.largest < tally.size
