"""The commands about schedules."""

from pathlib import Path
from typing import Annotated

import typer

from contracts import messages
from contracts.errors import FactoryError
from contracts.tiers import OptimiseFor, Quality
from infra import jobs, schedules
from infra.schedules import Schedule
from infra.settings import Settings
from producer import client, definitions, scheduling, values
from producer.cli import output, session, storing

Id = Annotated[str, typer.Argument(help="The schedule's id.")]


def register(app: typer.Typer, name: str) -> None:
    """Adds the commands."""
    group = typer.Typer(help="Submit a job again and again by the clock.", no_args_is_help=True)
    for command in (add, show, pause, resume, remove, run):
        group.command()(command)
    group.command("list")(listing)
    app.add_typer(group, name=name)


def add(
    schedule: Annotated[str, typer.Argument(help="An id for it.")],
    template: Annotated[str, typer.Argument(help="The template's name.")],
    for_client: Annotated[str, typer.Option("--client", "-c", help="For whom.")],
    cron: Annotated[str, typer.Option(help="Minute, hour, day of month, month, day of week: '0 7 * * 1-5'.")],
    timezone: Annotated[str, typer.Option(help="Whose wall clock the cron expression means.")] = "UTC",
    parameter: Annotated[list[str] | None, typer.Option("-p", "--parameter", help="name=value or name=@FILE.")] = None,
    params_file: Annotated[Path | None, typer.Option(help="YAML file of parameters; -p goes before it.")] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Of the template; else the newest each time.")] = None,
    quality: Annotated[Quality, typer.Option(help="How deep the stages work.")] = Quality.STANDARD,
    optimise_for: Annotated[OptimiseFor, typer.Option(help="What to prefer.")] = OptimiseFor.BALANCE,
    urgency: Annotated[int, typer.Option(min=0, max=9, help="Orders the client's own jobs.")] = 5,
    budget: Annotated[float | None, typer.Option(min=0, help="In US dollars, for each job.")] = None,
    json: output.Json = False,
) -> None:
    """Submit a job by the clock from now on. Times that pass while the factory is down count as one, late.

    Example: factory schedules add daily-bees rss_intelligence -c acme --cron "0 7 * * 1-5" --timezone Europe/Madrid
    -p topic=bees
    """
    micro = None if budget is None else round(budget * 1_000_000)
    wanted = Schedule(
        schedule, for_client, template, version, {}, quality, optimise_for, urgency, micro, cron, timezone
    )  # fmt: skip
    stored = session.run(_add(session.known(), wanted, parameter or [], params_file))
    _told(stored, json=json)


async def _add(configured: Settings, wanted: Schedule, parameters: list[str], file: Path | None) -> Schedule:
    async with session.tables(configured) as connection, storing.store(configured) as store:
        template = await definitions.find(connection, wanted.template, wanted.template_version)
        given = {} if file is None else values.of_file(template, file)
        for name, text in values.assignments(parameters).items():
            given[name] = values.parse(template, name, text)
        return await scheduling.add(connection, store, wanted, given)


def listing(json: output.Json = False) -> None:
    """List all schedules."""
    found = session.run(_listing())
    if json:
        output.document(found)
        return
    rows = [
        (
            s.id,
            s.client,
            s.template,
            s.cron,
            s.timezone,
            output.when(s.next_due) if s.active else "paused",
            output.when(s.last_due),
            s.last_problem or str(s.last_execution or ""),
        )
        for s in found
    ]
    columns = ("schedule", "client", "template", "cron", "time zone", "next", "last", "what came of it")
    output.table(columns, rows, "no schedules; add one with 'factory schedules add'")


async def _listing() -> list[Schedule]:
    async with session.tables(session.known()) as connection:
        return await schedules.listing(connection)


def show(schedule: Id, json: output.Json = False) -> None:
    """Show one schedule: its job, its times, what came of the last one."""
    found = session.run(_show(schedule))
    if json:
        output.document(found)
        return
    _told(found, json=False)
    for name, value in found.parameters.items():
        output.say(f"  {name} = {value}")
    if found.last_due is not None:
        output.say(f"last {output.when(found.last_due)}: {found.last_problem or f'execution {found.last_execution}'}")


async def _show(schedule_id: str) -> Schedule:
    async with session.tables(session.known()) as connection:
        return await scheduling.find(connection, schedule_id)


def pause(schedule: Id, json: output.Json = False) -> None:
    """Let a schedule rest; what it misses meanwhile does not come."""
    _told(session.run(_set_active(schedule, active=False)), json=json)


def resume(schedule: Id, json: output.Json = False) -> None:
    """Let a schedule go on with its next time."""
    _told(session.run(_set_active(schedule, active=True)), json=json)


async def _set_active(schedule_id: str, *, active: bool) -> Schedule:
    async with session.tables(session.known()) as connection:
        found = await schedules.set_active(connection, schedule_id, active=active)
    if found is None:
        raise scheduling.missing(schedule_id)
    return found


def remove(schedule: Id, json: output.Json = False) -> None:
    """Forget a schedule; the executions that came of it stay."""
    session.run(_remove(schedule))
    if json:
        output.document({"id": schedule, "removed": True})
    else:
        output.say(f"schedule '{schedule}' is removed")


async def _remove(schedule_id: str) -> None:
    async with session.tables(session.known()) as connection:
        if not await schedules.remove(connection, schedule_id):
            raise scheduling.missing(schedule_id)


def run(schedule: Id, json: output.Json = False) -> None:
    """Submit a schedule's job now, besides its times. Exit status 1 if it was rejected."""
    accepted = session.run(_run(session.known(), schedule))
    if json:
        output.document(accepted)
    else:
        output.say(str(accepted.execution_id))


async def _run(configured: Settings, schedule_id: str) -> messages.JobAccepted:
    async with session.tables(configured) as connection:
        found = await scheduling.find(connection, schedule_id)
        known = (await jobs.clients(connection, [found.client])).get(found.client)
    if known is None:
        raise FactoryError(f"there is no client '{found.client}'; see 'factory clients list'")
    async with client.of(configured, name="factory schedules run") as connected:
        return await connected.submit(found.job(f"schedule:{found.id}:{client.new_key()}"), tier=known.tier)


def _told(found: Schedule, *, json: bool) -> None:
    if json:
        output.document(found)
        return
    when = f"next {output.when(found.next_due)}" if found.next_due else "paused"
    output.say(f"schedule '{found.id}': {found.template} for {found.client}, {found.cron} {found.timezone}, {when}")
