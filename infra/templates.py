"""Templates and registered stages in Postgres."""

from collections.abc import Iterable
from typing import Any

from contracts import templates
from contracts.errors import TemplateError
from contracts.stages import StageSpec
from contracts.templates import Template
from infra import database, statements

SQL = statements.load("templates")


async def load(connection: database.Connection, name: str, version: int | None = None) -> Template | None:
    """A version of a template, the newest active one if none is named, None if there is none.

    Raises TemplateError if the stored rows do not make a valid template.
    """
    row = await connection.fetchrow(SQL["load_template"], name, version)
    if row is None:
        return None
    steps = await connection.fetch(SQL["load_template_steps"], name, row["version"])
    return templates.parse({**dict(row), "steps": [_step(step) for step in steps]})


async def active_version(connection: database.Connection, name: str) -> int | None:
    """The newest active version of a template, None if there is none."""
    row = await connection.fetchrow(SQL["active_version"], name)
    return None if row is None else int(row["version"])


def _step(row: database.Row) -> dict[str, Any]:
    fields = dict(row)
    fields["when"] = fields.pop("condition")
    return fields


async def apply(connection: database.Connection, template: Template) -> tuple[Template, bool]:
    """Stores a template as a new version unless its newest version says the same; returns it and whether it is new.

    The version that the template itself names does not count. Executions that run keep the version they started with.
    """
    async with connection.transaction():
        await connection.execute(SQL["lock_template"], template.name)
        row = await connection.fetchrow(SQL["newest_version"], template.name)
        newest = None if row is None else row["version"]
        if newest is not None:
            stored = await _stored(connection, template.name, newest)
            if stored == template.model_copy(update={"version": newest}):
                return stored, False
        new = template.model_copy(update={"version": (newest or 0) + 1})
        await _insert(connection, new)
        return new, True


async def _stored(connection: database.Connection, name: str, version: int) -> Template | None:
    try:
        return await load(connection, name, version)
    except TemplateError:
        return None  # rows that no longer make a template differ from any that does


async def _insert(connection: database.Connection, new: Template) -> None:
    document = new.model_dump(mode="json")
    await connection.execute(
        SQL["insert_template"],
        new.name,
        new.version,
        new.title,
        new.description,
        sorted(new.tiers),
        document["parameters"],
        new.on_budget,
    )
    for position, step in enumerate(document["steps"]):
        await connection.execute(
            SQL["insert_template_step"],
            *(new.name, new.version, position, step["name"], step["stage"], step["depends_on"], step["when"]),
            *(step["inputs"], step["parameters"], step["retry"], step["timeout"], step["fallback"], step["optional"]),
            *(step["fan_out"], step["cost"], step["deliver"]),
        )


async def listing(connection: database.Connection) -> list[dict[str, Any]]:
    """Every version of every template, by name and with the newest version first."""
    return [dict(row) for row in await connection.fetch(SQL["list_templates"])]


async def register(connection: database.Connection, specs: Iterable[StageSpec]) -> None:
    """Records what each stage takes and gives."""
    for spec in specs:
        await connection.execute(
            SQL["register_stage"],
            spec.name,
            spec.version,
            spec.description,
            spec.input.model_json_schema(),
            spec.output.model_json_schema(),
            spec.timeout,
            {"typical_seconds": spec.typical_seconds},
        )


async def registered(connection: database.Connection) -> list[str]:
    """The names of all stages that were registered."""
    return [row["stage"] for row in await connection.fetch(SQL["registered_stages"])]
