"""Templates that this coordinator has read: a version never changes, so it is read once."""

from collections import OrderedDict

from contracts.errors import FactoryError
from contracts.templates import Template
from infra import database, templates

CAPACITY = 1000


class Library:
    """Keeps the latest used template versions in memory."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int], Template] = OrderedDict()

    async def get(self, connection: database.Connection, name: str, version: int) -> Template:
        """A version of a template; raises FactoryError if it does not exist and TemplateError if it is broken."""
        template = await self.find(connection, name, version)
        if template is None:
            raise FactoryError(f"template '{name}' version {version} is not in the database")
        return template

    async def find(self, connection: database.Connection, name: str, version: int) -> Template | None:
        """The same, but None if it does not exist."""
        key = (name, version)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        template = await templates.load(connection, name, version)
        if template is not None:
            self._known[key] = template
            if len(self._known) > CAPACITY:
                self._known.popitem(last=False)
        return template
