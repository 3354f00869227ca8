"""What opens above the live view: one execution over time, a question, an explanation."""

import datetime
from typing import ClassVar
from uuid import UUID

import rich.text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Footer, Static

from contracts.errors import FactoryError
from contracts.states import ExecutionStatus
from producer.cli import output, panes, waterfall
from producer.overview import Source

HELP = """\
 arrows    select a row              tab, shift+tab  go to another pane
 enter, o  open the execution        escape, q       leave what was opened
 p         pause the selected execution or stage, or let it go on
 c         cancel the selected execution, after a question
 d         go to the dead letters    /  show rows with these words only
 q         end

 !  a problem. The first lines say what is wrong, and for how long.
 stages  '12+3 41s': 12 tasks wait, 3 are with workers, the first waits
         for 41 s. '·': an empty queue. taken by: consumers, from those of
         the tier with fewest. jobs and events are the coordinator's
 steps   '3/6': 3 of 6 are over. 'fetch 12/40': 12 of its 40 shards are
 dead letters are for 'factory dead list' and 'factory dead requeue'.
 When what was selected is over, no row is selected until you move.
"""


class Opened(Screen[None]):
    """One execution, drawn over time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,o", "app.pop_screen", "back", key_display="esc"),
        Binding("p", "app.pause", "pause"),
        Binding("c", "app.cancel", "cancel"),
    ]
    CSS = "#opened { height: 1fr; } #said { height: auto; max-height: 3; }"

    def __init__(self, source: Source, execution: UUID) -> None:
        super().__init__()
        self._source = source
        self.execution = execution
        self.status: ExecutionStatus | None = None
        self.named = str(execution)

    def compose(self) -> ComposeResult:
        """The drawing, what was said last, and the keys."""
        with VerticalScroll():
            yield Static(rich.text.Text("looking …"), id="drawing", markup=False)
        yield Static(id="said", markup=False)
        yield Footer()

    async def look(self) -> None:
        """Draws the execution as it is now; what cannot be known now is told below the last drawing."""
        try:
            progress, found = await self._source.execution(self.execution)
        except FactoryError as error:
            for place in self.query("#said").results(Static):
                place.update(output.text(f"{datetime.datetime.now():%H:%M:%S}  {error}", "bold red"))
            return
        one = progress.execution
        self.status, self.named = one.status, panes.named(one.template, one.client, one.seconds)
        drawn = list(waterfall.lines(progress, found, max(self.app.size.width - 2, 60)))
        for place in self.query("#drawing").results(Static):
            place.update(rich.text.Text("\n").join(drawn))


class Asked(ModalScreen[bool]):
    """A question, answered by y or n."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q", "answer(False)", "no"),
    ]
    CSS = """
    Asked { align: center middle; }
    #question { width: auto; max-width: 76; padding: 1 2; border: heavy $error; }
    """

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question and its keys."""
        yield Static(output.text(f"{self._question}  y or n"), id="question", markup=False)

    def action_answer(self, yes: bool) -> None:
        """Ends with the answer."""
        self.dismiss(yes)


class Explained(ModalScreen[None]):
    """The keys and the marks."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "app.pop_screen", "back")]
    CSS = """
    Explained { align: center middle; }
    #explained { width: 80; max-width: 100%; height: auto; max-height: 100%; border: round $primary; }
    """

    def compose(self) -> ComposeResult:
        """The text, to be scrolled where it has no room."""
        with VerticalScroll(id="explained"):
            yield Static(rich.text.Text(HELP.rstrip()), id="help", markup=False)
