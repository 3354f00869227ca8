"""The live view of the factory on a terminal: it shows what panes draw, does what commands do, and decides nothing."""

import asyncio
import dataclasses
import datetime
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import ClassVar
from uuid import UUID

import rich.text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import DataTable, Footer, Input, Static

from contracts.errors import FactoryError
from contracts.states import ExecutionStatus
from contracts.steering import Action
from infra import database
from infra.settings import Settings
from producer import steering, troubles
from producer.cli import executions, layout, output, panes
from producer.cli import steering as commands
from producer.cli.opened import Asked, Explained, Opened
from producer.cli.section import Section
from producer.overview import Snapshot, Source

LEAST_REST = 0.05
NOTE = "from factory top"
PANES = ("executions", "stages", "workers", "letters")


class Top(App[None]):
    """The whole factory, looked at again and again, one look after another."""

    TITLE = "factory top"
    ENABLE_COMMAND_PALETTE = False
    CSS = layout.CSS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "other(1)", "next pane", priority=True, show=False),
        Binding("shift+tab", "other(-1)", "pane before", priority=True, show=False),
        Binding("o,enter", "open", "open", key_display="o"),
        Binding("p", "pause", "pause"),
        Binding("c", "cancel", "cancel"),
        Binding("d", "choose('letters')", "dead letters"),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("question_mark", "explain", "help", key_display="?"),
        Binding("escape", "unfilter", "no filter", show=False),
        Binding("q", "quit", "quit"),
    ]

    def __init__(self, configured: Settings, source: Source, every: float = 1.0) -> None:
        super().__init__()
        self._settings = configured
        self._source = source
        self._every = every
        self._asked = asyncio.Event()
        self._since: Mapping[str, datetime.datetime] = {}
        self._words = ""
        self.snapshot: Snapshot | None = None

    def compose(self) -> ComposeResult:
        """The head, the panes, what was said last, and the keys."""
        yield Static(rich.text.Text("looking …"), id="head", markup=False)
        with Container(id="panes"):
            yield from (Section(name) for name in PANES)
        yield Static(id="said", markup=False)
        yield Input(placeholder="words that rows must hold; enter keeps them, escape shows all", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        """Begins to look."""
        self.action_choose(PANES[0])
        self.run_worker(self._watch(), group="looks")

    def on_resize(self, event: events.Resize) -> None:
        """Shows all panes where there is room, else the rows of the chosen one under the titles of all."""
        width, height = event.size
        roomy = width >= layout.ROOMY[0] and height >= layout.ROOMY[1]
        for place in self.screen_stack[0].query("#panes"):
            place.set_class(roomy, "roomy")
            place.set_class(not roomy and height >= layout.TALL, "tall")
        self._draw()

    async def _watch(self) -> None:
        while self.is_running:  # this outlives the screens, which are taken down first
            began = time.monotonic()
            if isinstance(self.screen, Opened):
                await self.screen.look()
            else:
                self._take(await self._source.look())
            rest = max(self._every - (time.monotonic() - began), LEAST_REST)
            try:
                async with asyncio.timeout(rest):
                    await self._asked.wait()
            except TimeoutError:
                continue
            self._asked.clear()

    def _take(self, found: Snapshot) -> None:
        """What a server that is away told last stays, under a head that says so."""
        before = self.snapshot
        if before is not None:
            work = before.work if found.work is None else found.work
            queues = before.queues if found.queues is None else found.queues
            found = dataclasses.replace(found, work=work, queues=queues)
        self.snapshot = found
        self._since = troubles.seen(self._since, troubles.troubles(found), found.at)
        self._draw()

    def _draw(self) -> None:
        if self.snapshot is None or not self.is_running:
            return
        base = self.screen_stack[0]
        width, height = self.size
        found = troubles.troubles(self.snapshot)
        told = panes.head(self.snapshot, found, self._since, 2 if height < layout.SHORT else 6)
        base.query_one("#head", Static).update(_joined([_fitting(line, width) for line in told]))
        wide = width // 2 if base.query_one("#panes").has_class("roomy") else width
        for pane in panes.panes(self.snapshot, wide):
            base.query_one(f"#{pane.name}", Section).show(pane.filtered(self._words))

    @property
    def _covered(self) -> bool:
        """Whether something is open above the panes."""
        return len(self.screen_stack) > 1

    @property
    def _chosen(self) -> Section:
        return self.screen_stack[0].query_one("Section.chosen", Section)

    def say(self, told: str, wrong: bool = False) -> None:
        """Shows a line until the next one, on every screen that has a place for it: what is open may be left first."""
        for screen in self.screen_stack:
            for place in screen.query("#said").results(Static):
                place.update(output.text(told, "bold red" if wrong else "bold"))

    def _refuse(self, told: str) -> None:
        """Says why nothing can be done: that what was selected is gone, or else what is told."""
        lost = self._chosen.lost
        self.say(told if lost is None else f"{lost} is over or not shown any more; choose again", wrong=True)

    def action_choose(self, name: str) -> None:
        """Goes to a pane."""
        if self._covered:
            return
        for section in self.query(Section):
            section.set_class(section.id == name, "chosen")
        self._chosen.table.focus()

    def action_other(self, way: int) -> None:
        """Goes to the pane after or before."""
        self.action_choose(PANES[(PANES.index(self._chosen.id or "") + way) % len(PANES)])

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter on a row opens it."""
        event.stop()
        self.action_open()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The pane with the focus is the chosen one."""
        section = event.widget.parent
        if isinstance(section, Section) and not section.has_class("chosen"):
            self.action_choose(section.id or "")

    def action_open(self) -> None:
        """Shows the selected execution over time."""
        if not self._covered and (execution := self._execution("opened")) is not None:
            self.push_screen(Opened(self._source, execution))
            self._asked.set()

    def _execution(self, done: str) -> UUID | None:
        """The execution that is open or selected; says so where none is."""
        if isinstance(self.screen, Opened):
            return self.screen.execution
        if self._chosen.id == "executions" and self._chosen.selected:
            return UUID(self._chosen.selected)
        self._refuse(f"no execution is selected that could be {done}; go to the executions with tab")
        return None

    def action_pause(self) -> None:
        """Pauses the selected execution or stage, or lets it go on."""
        if self._chosen.id == "stages" and not isinstance(self.screen, Opened):
            self._pause_stage(self._chosen.selected)
            return
        execution = self._execution("paused")
        if execution is None:
            return
        action: Action = "resume" if self._status(execution) is ExecutionStatus.PAUSED else "pause"

        async def steered() -> str:
            done = await commands.steered(self._settings, execution, action, None, NOTE)
            return f"execution {execution} is {done.status}"

        self._do(self._named(execution), f"{action} {execution}: waiting for a coordinator …", steered())

    def _status(self, execution: UUID) -> ExecutionStatus | None:
        """How an execution stood when it was looked at last."""
        if isinstance(self.screen, Opened):
            return self.screen.status
        work = self.snapshot.work if self.snapshot else None
        return next((one.status for one in work.under_way if one.id == execution), None) if work else None

    def _named(self, execution: UUID) -> str:
        """What an execution is called where somebody is to know it again: template, client and age."""
        if isinstance(self.screen, Opened):
            return self.screen.named
        return self._chosen.label or str(execution)

    def _pause_stage(self, stage: str | None) -> None:
        if self.snapshot is None or stage is None or stage in panes.BEYOND_STAGES:
            self._refuse(f"{stage or 'nothing'} is no stage that could be paused")
            return
        held = self.snapshot.work.pauses if self.snapshot.work else ()
        pause = not any(one.kind == "stage" and one.name == stage for one in held)

        async def paused() -> str:
            done = await steering.set_pause(self._settings.amqp_url, "stage", stage, pause, NOTE)
            return f"stage {stage} {'is paused' if done.paused else 'goes on'}"

        self._do("", f"{'pause' if pause else 'resume'} {stage}: waiting for a coordinator …", paused())

    def action_cancel(self) -> None:
        """Cancels the selected execution once that was confirmed."""
        execution = self._execution("cancelled")
        if execution is None:
            return

        named = self._named(execution)

        async def cancelled() -> str:
            last = await executions.cancelled(self._settings, execution, NOTE)
            return f"execution {execution} is {last.status}"

        def answered(yes: bool | None) -> None:
            if yes:
                self._do(named, f"cancel {execution}: waiting for its end …", cancelled())
            else:
                self.say("nothing was cancelled")

        self.push_screen(Asked(f"Cancel {named}? What runs is stopped. It is execution {execution}."), answered)

    def _do(self, named: str, doing: str, work: Coroutine[None, None, str]) -> None:
        """Does what was asked for and says what came of it, each time about what."""
        about = f"{named}: " if named else ""

        async def done() -> None:
            try:
                self.say(about + await work)
            except (FactoryError, database.Failure, *database.UNAVAILABLE) as error:
                self.say(f"{about}not done: {error}", wrong=True)
            self._asked.set()

        self.say(about + doing)
        self.run_worker(done(), group="actions")

    def action_explain(self) -> None:
        """Explains keys and marks."""
        self.push_screen(Explained())

    def action_filter(self) -> None:
        """Asks for words that rows must hold."""
        if self._covered:
            return
        place = self.query_one("#filter", Input)
        place.add_class("shown")
        place.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filters while the words are typed."""
        self._words = event.value
        self._draw()

    def on_input_submitted(self) -> None:
        """Keeps the words and goes back to the rows."""
        self.query_one("#filter", Input).set_class(bool(self._words), "shown")
        self._chosen.table.focus()

    def action_unfilter(self) -> None:
        """Shows all rows."""
        place = self.query_one("#filter", Input)
        place.value = ""
        place.remove_class("shown")
        self._chosen.table.focus()


def _fitting(line: rich.text.Text, width: int) -> rich.text.Text:
    line.truncate(width, overflow="ellipsis")
    return line


def _joined(lines: Sequence[rich.text.Text]) -> rich.text.Text:
    return rich.text.Text("\n").join(lines)
