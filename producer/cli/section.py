"""One pane of the live view."""

import rich.text
from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import DataTable, Static

from producer.cli import output
from producer.cli.panes import Pane, Row

MOVES = frozenset({"up", "down", "pageup", "pagedown", "home", "end"})


class Section(Container):
    """A pane on the screen: its title, and its rows where there is room for them."""

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self._rows: tuple[Row, ...] = ()
        self._lost: Row | None = None
        self._place = 0
        self._columns: tuple[str, ...] = ()
        self._title = Static(markup=False, classes="title")
        self.table: DataTable[rich.text.Text] = DataTable(cursor_type="row", cell_padding=1)

    def compose(self) -> ComposeResult:
        """The title above the rows."""
        yield self._title
        yield self.table

    @property
    def selected(self) -> str | None:
        """What the selected row is about; None where no row is selected."""
        row = self._row
        return None if row is None else row.key

    @property
    def label(self) -> str | None:
        """How to call that."""
        row = self._row
        return None if row is None else row.label

    @property
    def lost(self) -> str | None:
        """How to call what was selected and is not among the rows any more. Until somebody chooses again no row is
        selected: what took its place is a stranger."""
        return None if self._lost is None else self._lost.label

    @property
    def _row(self) -> Row | None:
        place = self.table.cursor_row
        return self._rows[place] if self._lost is None and 0 <= place < len(self._rows) else None

    def show(self, pane: Pane) -> None:
        """Draws other rows; the selection stays with what it was about, and is nowhere while that is gone."""
        self._title.update(output.text(pane.title, "bold red" if pane.wrong else "bold"))
        held, place = self._lost or self._row, self.table.scroll_offset
        if self._lost is None:
            self._place = self.table.cursor_row
        self.table.clear(columns=pane.columns != self._columns)
        if pane.columns != self._columns:
            self._columns = pane.columns
            for column in pane.columns:
                self.table.add_column(rich.text.Text(column))
        for row in pane.rows:
            self.table.add_row(*row.cells, key=row.key)
        self._rows = tuple(pane.rows)
        if held is not None:
            self._hold(held)
            self.table.scroll_to(y=place.y, animate=False)

    def _hold(self, held: Row) -> None:
        place = next((number for number, row in enumerate(self._rows) if row.key == held.key), None)
        self._lost = held if place is None else None
        self.table.show_cursor = place is not None
        if place is not None:
            self.table.move_cursor(row=place, animate=False, scroll=False)

    async def on_key(self, event: events.Key) -> None:
        """Where nothing is selected, the first key that moves selects what has taken the place."""
        if self._lost is None:
            return
        if event.key in MOVES and self._rows:
            event.stop()
            self._lost = None
            self.table.show_cursor = True
            self.table.move_cursor(row=min(self._place, len(self._rows) - 1), animate=False)
        elif event.key == "enter":
            event.stop()
            await self.run_action("app.open")
