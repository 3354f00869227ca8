"""How an execution looks while it runs: a tree of its steps on a terminal, a line for each change elsewhere."""

from collections.abc import Iterator

import rich.console
import rich.progress_bar
import rich.table
import rich.text
import rich.tree

from contracts.states import StepStatus
from infra import views
from producer.cli import output
from producer.watching import Progress

BAR_WIDTH = 28
_MARKS = {
    StepStatus.COMPLETED: "✓",
    StepStatus.FAILED: "✗",
    StepStatus.SKIPPED: "-",
    StepStatus.CANCELLED: "⊘",
    StepStatus.PENDING: "·",
    StepStatus.WAITING: "↻",
}


def render(progress: Progress) -> rich.console.RenderableType:
    """The whole execution, to be drawn again and again at the same place."""
    execution = progress.execution
    head = rich.text.Text.assemble(
        (execution.template, "bold"),
        f" v{execution.template_version} for {output.safe(execution.client)} ({execution.tier})  ",
        output.status(execution.status),
        f"  {output.seconds(execution.seconds)}  ",
        (str(execution.id), "dim"),
    )
    tree = rich.tree.Tree(head, guide_style="dim")
    width = max((len(step.step) for step in progress.steps), default=0)
    for step in progress.steps:
        tree.add(_line(step, width))
    if progress.over:
        for line in ending(progress):
            tree.add(output.text(line, output.STATUS_STYLES.get(execution.status, "")))
    return tree


def _line(step: views.Step, width: int) -> rich.console.RenderableType:
    cells: list[rich.console.RenderableType] = [
        rich.text.Text(_MARKS.get(step.status, "▶"), output.STATUS_STYLES.get(step.status, "")),
        output.text(step.step.ljust(width)),
        output.status(step.status.ljust(len("dispatched"))),
        rich.text.Text(output.seconds(step.seconds).rjust(len("10 min 00 s")), "dim"),
    ]
    if step.shards is not None and step.status not in (StepStatus.COMPLETED, StepStatus.FAILED):
        done, total = step.shards.done, max(step.shards.total, 1)
        cells.append(rich.progress_bar.ProgressBar(total=total, completed=done, width=BAR_WIDTH))
    elif step.status is StepStatus.RUNNING and step.fraction:
        cells.append(rich.progress_bar.ProgressBar(total=1, completed=step.fraction, width=BAR_WIDTH))
    cells.append(output.text(details(step)))
    grid = rich.table.Table.grid(padding=(0, 1))
    grid.add_row(*cells)
    return grid


def details(step: views.Step) -> str:
    """What there is to say of a step beyond its status."""
    said = []
    if step.shards is not None:
        said.append(f"{step.shards.done}/{step.shards.total}")
        if step.shards.failed:
            said.append(f"{step.shards.failed} failed")
    retries = step.retries + (step.shards.retries if step.shards else 0)
    if retries:
        said.append("1 retry" if retries == 1 else f"{retries} retries")
    if step.error and step.status not in (StepStatus.COMPLETED, StepStatus.SKIPPED):
        said.append(f"{step.error_class}: {step.error}")
    elif step.status is StepStatus.RUNNING and step.note:
        said.append(step.note)
    elif step.status is StepStatus.COMPLETED and step.shards is None:
        said += [f"{name} {value}" for name, value in step.summary.items()]
    return ", ".join(said)


def ending(progress: Progress) -> Iterator[str]:
    """How an execution ended and what it delivered."""
    execution = progress.execution
    reason = f": {execution.explanation}" if execution.explanation else ""
    yield f"{execution.status} after {output.seconds(execution.seconds)}{reason}"
    for item in progress.deliverables:
        yield f"{item.step}: {item.format}, {output.size(item.ref.size)}"


class Lines:
    """Tells what changed since the last look, a line each, for logs and pipes."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def news(self, progress: Progress) -> Iterator[str]:
        """The lines for what is new."""
        clock = f"{progress.execution.seconds:7.1f} s"
        for step in progress.steps:
            line = f"{step.step}: {step.status}"
            if (said := details(step)) and step.status is not StepStatus.PENDING:
                line += f" ({said})"
            if self._told.get(step.step, f"{step.step}: {StepStatus.PENDING}") != line:
                self._told[step.step] = line
                yield f"{clock}  {line}"
        if progress.over:
            yield from (f"{clock}  {line}" for line in ending(progress))
