"""How a look at the factory is drawn: a head that says what is wrong and four panes of rows, for a screen or a pipe."""

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence

import rich.text

from contracts.states import ExecutionStatus
from contracts.tiers import Tier
from infra import overview, views
from infra.overview import UnderWay
from producer import troubles
from producer.cli import output
from producer.depths import Depth
from producer.overview import Snapshot, Work
from producer.troubles import Trouble

TIERS = tuple(reversed(Tier))
NARROW = 110
PROBLEM, NOTHING = "!", "·"
WRONG, HEALTHY = "bold red", "bold green"
STATUSES = (ExecutionStatus.QUEUED, ExecutionStatus.RUNNING, ExecutionStatus.PAUSED)
BEYOND_STAGES = ("jobs", "events")


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A row of a pane; ``key`` is what it is about, ``label`` how people call that."""

    key: str
    cells: tuple[rich.text.Text, ...]
    label: str

    def holds(self, words: str) -> bool:
        """Whether all these words stand in it."""
        shown = " ".join([self.key, *(cell.plain for cell in self.cells)]).lower()
        return all(word in shown for word in words.lower().split())


@dataclasses.dataclass(frozen=True, slots=True)
class Pane:
    """Rows of one kind, with a title that sums them up; ``wrong`` marks it where any of them is a problem."""

    name: str
    title: str
    wrong: bool
    columns: tuple[str, ...]
    rows: Sequence[Row]
    empty: str

    def filtered(self, words: str) -> "Pane":
        """The pane with those rows only that hold all these words."""
        return dataclasses.replace(self, rows=[row for row in self.rows if row.holds(words)]) if words else self


def short(seconds: float | None) -> str:
    """A duration in six characters at most."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{max(seconds, 0.0):.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes}m{rest:02}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}" if hours < 48 else f"{hours // 24}d"


def head(
    snapshot: Snapshot, found: Sequence[Trouble], since: Mapping[str, datetime.datetime], most: int = 4
) -> Iterator[rich.text.Text]:
    """Whether the factory is well and what is wrong since when; then what waits and runs, and how fast it goes."""
    grave = [trouble for trouble in found if trouble.grave]
    clock = f"   {snapshot.at.astimezone():%H:%M:%S}"
    if not grave:
        yield rich.text.Text.assemble((" OK ", HEALTHY), "  nothing is wrong", (clock, "dim"))
    else:
        number = "1 trouble" if len(grave) == 1 else f"{len(grave)} troubles"
        yield rich.text.Text.assemble((" WRONG ", WRONG), f"  {number}", (clock, "dim"))
    for trouble in found[:most]:
        mark, style = (PROBLEM, "red") if trouble.grave else ("-", "yellow")
        yield output.text(f" {mark} {trouble.text}{_since(trouble, since, snapshot.at)}", style)
    if len(found) > most:
        yield rich.text.Text(f"   and {len(found) - most} more", "dim")
    if snapshot.work is not None:
        yield from _standing(snapshot.work)


def _since(trouble: Trouble, since: Mapping[str, datetime.datetime], now: datetime.datetime) -> str:
    known = (now - since[trouble.key]).total_seconds() if trouble.key in since else trouble.seconds
    return f", for {output.seconds(known)}" if known else ""


def _standing(work: Work) -> Iterator[rich.text.Text]:
    numbers = {(one.status, one.tier): one.executions for one in work.executions}
    longest = {one.tier: one.longest for one in work.executions if one.longest is not None}
    yield rich.text.Text(" executions" + "".join(f"{tier:>12}" for tier in TIERS) + "   longest wait", "dim")
    for status in STATUSES:
        cells = "".join(f"{numbers.get((status, tier), 0) or NOTHING:>12}" for tier in TIERS)
        wait = ""
        if status is ExecutionStatus.QUEUED and longest:
            tier = max(longest, key=lambda name: longest[name] or 0.0)
            wait = f"   {short(longest[tier])} ({tier})"
        yield rich.text.Text(f" {status:<10}{cells}{wait}")
    ended = work.ended
    yield rich.text.Text.assemble(
        (" last minute  ", "dim"),
        *_rate(ended.executions, ended.executions_failed, "executions"),
        "   ",
        *_rate(ended.steps, ended.steps_failed, "steps"),
    )


def _rate(number: int, failed: int, noun: str) -> Iterator[str | tuple[str, str]]:
    yield f"{number} {noun} ended"
    if failed:
        yield (f", {PROBLEM}{failed} failed", "red")


def panes(snapshot: Snapshot, width: int) -> list[Pane]:
    """Executions, stages, workers and dead letters; of what is not known now there are no rows."""
    narrow = width < NARROW
    return [_executions(snapshot, narrow), _stages(snapshot), _workers(snapshot), _letters(snapshot)]


def _cells(*told: object) -> tuple[rich.text.Text, ...]:
    return tuple(one if isinstance(one, rich.text.Text) else output.text(one) for one in told)


def _cut(text: str, most: int) -> str:
    shown = output.safe(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _executions(snapshot: Snapshot, narrow: bool) -> Pane:
    found = snapshot.work.under_way if snapshot.work else ()
    running = sum(1 for one in found if one.status is ExecutionStatus.RUNNING)
    most = f"{running}+" if running == overview.LISTED else str(running)
    title = f"executions  {most} running, {len(found) - running} paused, the slowest first"
    columns: tuple[str, ...] = ("took", "client", "template", "status", "steps", "now at")
    rows = [Row(str(one.id), _execution(one, narrow), named(one.template, one.client, _took(one))) for one in found]
    if not narrow:
        columns = (*columns, "execution")
    return Pane("executions", title, False, columns, rows, "nothing runs")


def named(template: str, client: str, seconds: float) -> str:
    """How to call an execution, as its row shows it: no id, which narrow terminals have no room for."""
    return f"{_cut(template, 24)} for {_cut(client, 24)}, {short(seconds)}"


def _took(one: UnderWay) -> float:
    return one.seconds if one.running_seconds is None else one.running_seconds


def _execution(one: UnderWay, narrow: bool) -> tuple[rich.text.Text, ...]:
    status = output.status(one.status)
    if one.pause_reason:
        status.append(f" ({one.pause_reason})")
    client, template = (_cut(one.client, 12), _cut(one.template, 16)) if narrow else (one.client, one.template)
    now = ", ".join(_present(present) for present in one.present)
    cells = _cells(
        *(short(_took(one)), client, template, status, f"{one.over}/{one.steps}"),
        _cut(now, 30 if narrow else 60),
    )
    return cells if narrow else (*cells, output.text(one.id, "dim"))


def _present(present: overview.Present) -> str:
    told = present.step
    if present.shards is not None:
        told += f" {'?' if present.done is None else present.done}/{present.shards}"
    elif present.fraction:
        told += f" {present.fraction:.0%}"
    if present.status != "running":
        told += f" {present.status}"
    return told + (f" ({present.note})" if present.note else "")


def _stages(snapshot: Snapshot) -> Pane:
    queues = snapshot.queues or ()
    groups: dict[str, dict[Tier, Depth]] = {}
    for row in queues:
        name = row.stage or row.queue.partition(".")[0]
        if row.tier is not None:
            groups.setdefault(name, {})[row.tier] = row
    order = [*(name for name in groups if name not in BEYOND_STAGES), *BEYOND_STAGES]
    rows = [Row(name, _stage(name, groups[name], snapshot), f"stage {name}") for name in order if name in groups]
    wrong = [name for name in order if name in groups and any(_bad(row, snapshot) for row in groups[name].values())]
    waiting = sum(row.depth or 0 for row in queues if row.stage)
    held = sum(row.unacknowledged or 0 for row in queues if row.stage)
    title = f"stages  {waiting} tasks wait, {held} with workers" + (f", {PROBLEM}{', '.join(wrong)}" if wrong else "")
    return Pane("stages", title, bool(wrong), ("stage", *TIERS, "taken by"), rows, "no queue is known")


def _bad(row: Depth, snapshot: Snapshot) -> bool:
    return row.depth is None or troubles.late(row, snapshot) or troubles.unattended(row, snapshot)


def _stage(name: str, tiers: Mapping[Tier, Depth], snapshot: Snapshot) -> tuple[rich.text.Text, ...]:
    consumers = sorted({row.consumers for row in tiers.values() if row.consumers is not None})
    taken = "-".join(str(number) for number in dict.fromkeys((consumers[0], consumers[-1]))) if consumers else ""
    label = output.text(f"{name} (paused)", "yellow") if name in snapshot.paused_stages else output.text(name)
    return _cells(label, *(_cell(tiers[tier], snapshot) for tier in TIERS), taken)


def _cell(row: Depth, snapshot: Snapshot) -> rich.text.Text:
    """Tasks that wait, '+' those with workers, and for how long the first has waited."""
    bad = _bad(row, snapshot)
    if row.depth is None:
        told = "missing"
    else:
        told = f"{row.depth}" + (f"+{row.unacknowledged}" if row.unacknowledged else "")
        told += f" {short(row.oldest)}" if row.depth and row.oldest is not None else ""
    if not bad and told == "0":
        return rich.text.Text(NOTHING, "dim")
    return rich.text.Text(f"{PROBLEM}{told}" if bad else told, "bold red" if bad else "")


def _workers(snapshot: Snapshot) -> Pane:
    found = snapshot.work.workers if snapshot.work else ()
    rows = []
    for worker in found:
        silent = worker.silent > views.SILENT_SECONDS
        heard = output.text(f"{PROBLEM}silent {short(worker.silent)}", "bold red") if silent else output.text("alive")
        slots = f"{worker.in_flight}/{worker.capacity}"
        rows.append(Row(worker.id, _cells(worker.id, slots, heard, ", ".join(worker.stages)), f"worker {worker.id}"))
    mute = sum(1 for worker in found if worker.silent > views.SILENT_SECONDS)
    used, all_slots = sum(w.in_flight for w in found), sum(w.capacity for w in found)
    title = f"workers  {len(found)} known, {used} of {all_slots} slots in use"
    title += f", {PROBLEM}{mute} silent" if mute else ""
    return Pane("workers", title, bool(mute), ("worker", "slots", "heard", "stages"), rows, "no worker was heard of")


def _letters(snapshot: Snapshot) -> Pane:
    found = snapshot.work.letters if snapshot.work else ()
    rows = [
        Row(
            f"{one.reason} {one.error_class} {one.place}",
            _cells(one.letters, one.reason, one.error_class, one.place, short(one.newest), short(one.oldest)),
            f"the letters of {one.place}",
        )
        for one in found
    ]
    number = sum(one.letters for one in found)
    oldest = f", the oldest {short(max(one.oldest for one in found))}" if found else ""
    title = f"dead letters  {PROBLEM if number else ''}{number} open{oldest}"
    columns = ("letters", "reason", "class", "where", "newest", "oldest")
    return Pane("letters", title, bool(number), columns, rows, "no dead letter is open")


def table(pane: Pane, width: int) -> Iterator[rich.text.Text]:
    """A pane as lines of text, cut at the width."""
    yield rich.text.Text(_cut(pane.title, width), "bold")
    if not pane.rows:
        yield rich.text.Text(f"  {pane.empty}", "dim")
        return
    columns = [rich.text.Text(name, "dim") for name in pane.columns]
    sizes = _sizes([columns, *(row.cells for row in pane.rows)])
    for cells in [columns, *(row.cells for row in pane.rows)]:
        line = rich.text.Text("  ")
        for cell, size in zip(cells, sizes, strict=True):
            line.append_text(cell).append(" " * (size - cell.cell_len + 2))
        line.rstrip()
        line.truncate(width, overflow="ellipsis")
        yield line


def _sizes(rows: Iterable[Sequence[rich.text.Text]]) -> list[int]:
    return [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
