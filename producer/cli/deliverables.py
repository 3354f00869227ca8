"""The commands about what executions have made."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from contracts.errors import FactoryError
from infra import views
from infra.settings import Settings
from producer import delivering, watching
from producer.cli import output, session, storing

Id = Annotated[UUID, typer.Argument(help="The execution's id.")]


def register(app: typer.Typer, name: str) -> None:
    """Adds the commands."""
    group = typer.Typer(help="Get what an execution has made.", no_args_is_help=True)
    group.command("list")(listing)
    group.command()(get)
    app.add_typer(group, name=name)


def listing(execution: Id, json: output.Json = False) -> None:
    """List the deliverables of an execution."""
    found = session.run(_listing(session.known(), execution))
    if json:
        output.document(found)
        return
    rows = [(d.step, d.format, output.size(d.ref.size), output.when(d.created_at)) for d in found]
    output.table(("step", "format", "size", "made"), rows, "nothing was delivered (yet)")


async def _listing(configured: Settings, execution_id: UUID) -> list[views.Deliverable]:
    async with session.tables(configured) as connection:
        await watching.look(connection, execution_id)
        return await views.deliverables(connection, execution_id)


def get(
    execution: Id,
    form: Annotated[str | None, typer.Option("--format", help="Only this format, such as html.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder; .factory/reports/<id> if left out.")] = None,
    json: output.Json = False,
) -> None:
    """Write the deliverables of an execution to files; a file of other content is never replaced.

    Example: factory deliverables get 0190c3f2-… --format html -o reports
    """
    files = session.run(_get(session.known(), execution, form, out))
    if json:
        output.document(files)
    for path in () if json else files.values():
        output.say(str(path))


async def _get(configured: Settings, execution_id: UUID, form: str | None, out: Path | None) -> dict[str, Path]:
    found = await _listing(configured, execution_id)
    if not found:
        raise FactoryError(f"execution {execution_id} has delivered nothing; see 'factory watch {execution_id}'")
    chosen = [item for item in found if form in (None, item.format)]
    if not chosen:
        offered = ", ".join(sorted({item.format for item in found}))
        raise FactoryError(f"execution {execution_id} has no format '{form}'; it has: {offered}")
    async with storing.store(configured) as store:
        return await delivering.save(chosen, store, out or delivering.folder_of(configured.home, execution_id))
