"""How a waterfall looks: two lines for each step, a bar over time and what there is to say of it, at any width."""

import textwrap
from collections.abc import Iterator, Sequence

import rich.text

from contracts.refs import DataRef
from contracts.states import StepStatus
from infra import budgets, views
from producer.cli import output, tree
from producer.watching import Progress
from producer.waterfall import Fan, Row, Span, Waterfall

MARKS = {"waiting": "░", "running": "█", "retry": "·", "earlier": "▒"}
LEGEND = "░ in the queue  █ at work  · held back for another attempt  ▒ an earlier attempt  * decided the end"
NARROWEST_BAR = 12
DEEPEST = 4
NAME, WIDEST_NAME = 20, 36
MOMENT = len("999 h 59 min")
NUMBERS = len("* ") + len(" dispatched ") + len("tries ") + 2 * (MOMENT + 1) - 1
"""What stands beside the name and the bar."""

_ORDER = ("running", "earlier", "retry", "waiting")


def lines(
    progress: Progress, waterfall: Waterfall, width: int, *, refs: bool = False, fold: bool = True
) -> Iterator[rich.text.Text]:
    """An execution's steps over time, none wider than ``width``; ``refs`` gives the outputs' full addresses. Without
    ``fold`` what is said of a step stands on one line, however long, as programs like it."""
    steps = {step.step: step for step in progress.steps}
    names = max((len(row.step) + _indent(row) for row in waterfall.rows), default=0)
    name = max(NAME, min(names, WIDEST_NAME, width - NUMBERS - 2 * NARROWEST_BAR))
    room = max(width - NUMBERS - name - 1, NARROWEST_BAR)
    yield _head(progress, waterfall)
    titles = f"  {'step':<{name}} {'status':<10} tries {'from':>{MOMENT}} {'took':>{MOMENT}}"
    yield rich.text.Text(f"{titles} {_scale(waterfall.seconds, room)}", "dim")
    if waterfall.admitted:
        bar = drawn([Span("waiting", 0.0, waterfall.admitted)], waterfall.seconds, room)
        label = "(waits for a slot)"
        yield rich.text.Text(
            f"  {label:<{name}} {'':<10} {'':5} {_moment(0.0)} {_moment(waterfall.admitted)} {bar}", "dim"
        )
    for row in waterfall.rows:
        yield _line(row, waterfall.seconds, name, room)
        for said in _said(row, steps[row.step], refs):
            margin = " " * (4 + _indent(row))
            folded = textwrap.wrap(output.safe(said), width - len(margin)) if fold else [said]
            yield from (output.text(margin + part, "dim") for part in folded)
    yield rich.text.Text(LEGEND, "dim")
    for line in tree.ending(progress) if progress.over else ():
        yield output.text(line, output.STATUS_STYLES.get(progress.execution.status, ""))


def _head(progress: Progress, waterfall: Waterfall) -> rich.text.Text:
    execution = progress.execution
    spent = sum(row.cost.spent for row in waterfall.rows if row.cost)
    return rich.text.Text.assemble(
        (output.safe(execution.template), "bold"),
        f" v{execution.template_version} for {output.safe(execution.client)} ({execution.tier})  ",
        output.status(execution.status),
        f"  {output.seconds(execution.seconds)}  ",
        f"{budgets.dollars(spent)}  " if spent else "",
        (str(execution.id), "dim"),
    )


def _indent(row: Row) -> int:
    return 2 * min(row.level, DEEPEST)


def _scale(seconds: float, room: int) -> str:
    end = output.seconds(seconds)
    return f"0 s{end:>{room - 3}}" if len(end) < room - 3 else f"{end:>{room}}"


def _moment(number: float | None) -> str:
    return f"{output.seconds(number):>{MOMENT}}"


def _line(row: Row, total: float, name: int, room: int) -> rich.text.Text:
    shown = output.safe(" " * _indent(row) + row.step)
    shown = shown if len(shown) <= name else shown[: name - 1] + "…"
    took = None if row.began is None or row.ended is None else row.ended - row.began
    tries = row.attempt if row.spans else ""
    line = rich.text.Text("* " if row.critical else "  ", "bold")
    line.append(f"{shown:<{name}} ", "bold" if row.critical else "")
    line.append_text(output.status(f"{row.status:<10}"))
    line.append(f" {tries:>5} {_moment(row.began)} {_moment(took)} ")
    return line.append(drawn(row.spans, total, room), output.STATUS_STYLES.get(row.status, ""))


def drawn(spans: Sequence[Span], total: float, width: int) -> str:
    """Spans on a line of ``width`` columns that stands for ``total`` seconds; each is seen, however short it was."""
    columns = [" "] * width
    scale = width / total if total > 0 else 0.0
    for kind in reversed(_ORDER):
        for span in (span for span in spans if span.kind == kind):
            first = min(max(int(span.began * scale), 0), width - 1)
            last = min(max(round(span.ended * scale), first + 1), width)
            if span.ended > span.began or kind == "running":
                columns[first:last] = MARKS[kind] * (last - first)
    return "".join(columns).rstrip()


def _said(row: Row, step: views.Step, refs: bool) -> Iterator[str]:
    """The second line of a step, and for a fan-out a third."""
    if row.status is StepStatus.PENDING:
        yield f"{row.stage}{_after(row)}"
        return
    parts = [row.stage + _after(row)]
    if row.waited is not None:
        parts.append(f"waited {output.seconds(row.waited)}")
    if row.ran is not None:
        parts.append(f"ran {output.seconds(row.ran)}")
    if row.cost is not None:
        parts.append(f"{budgets.dollars(row.cost.spent)} in {row.cost.calls} calls" + _reserved(row.cost.reserved))
    parts += [part for part in (tree.details(step), _reference(row.output, refs)) if part]
    yield ", ".join(parts)
    if row.fan is not None:
        yield _fanned(row.fan, step.shards.total if step.shards else row.fan.counted)


def _after(row: Row) -> str:
    return f", after {', '.join(row.depends_on)}" if row.depends_on else ""


def _reserved(reserved: int) -> str:
    return f", {budgets.dollars(reserved)} reserved" if reserved else ""


def _reference(ref: DataRef | None, refs: bool) -> str:
    if ref is None:
        return ""
    if ref.uri.startswith("inline:"):
        return f"{output.size(ref.size)} inline"
    return f"{output.size(ref.size)} in {ref.uri if refs else '…/' + ref.uri.rpartition('/')[2]}"


def _fanned(fan: Fan, total: int) -> str:
    parts = [] if fan.first_began is None else [f"shards from {output.seconds(fan.first_began)}"]
    if fan.last_ended is not None:
        parts.append(f"to {output.seconds(fan.last_ended)}")
    if fan.median is not None:
        parts.append(f"half in {output.seconds(fan.median)} each")
    slow = [f"#{s.shard} {output.seconds(s.seconds)}{_unless_completed(s.status)}" for s in fan.slowest]
    told = " ".join(parts) + (f", slowest {', '.join(slow)}" if slow else "")
    return told if fan.counted >= total else f"of the first {fan.counted}: {told}"


def _unless_completed(status: StepStatus) -> str:
    return "" if status is StepStatus.COMPLETED else f" {status}"
