"""The commands that submit a job and watch what comes of it."""

import dataclasses
import datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from contracts import messages
from contracts.errors import FactoryError
from contracts.states import ExecutionStatus
from contracts.tiers import OptimiseFor, Quality
from infra import documents, identifiers, jobs
from infra.settings import Settings
from producer import client, definitions, values, watching
from producer.cli import durations, live, output, session, storing

GOOD = frozenset({ExecutionStatus.COMPLETED, ExecutionStatus.PARTIAL})
UPLOADS = "parameters"


def register(app: typer.Typer, name: str) -> None:
    """Adds the command."""
    app.command(name)(submit if name == "submit" else watch)


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    """A job as the command line gave it."""

    template: str
    client: str
    parameters: list[str]
    file: Path | None
    key: str | None
    quality: Quality
    optimise_for: OptimiseFor
    urgency: int
    budget: float | None
    delay: float
    deadline: float | None


def submit(
    template: Annotated[str, typer.Argument(help="The template's name.")],
    for_client: Annotated[str, typer.Option("--client", "-c", help="For whom.")],
    parameter: Annotated[list[str] | None, typer.Option("-p", "--parameter", help="name=value or name=@FILE.")] = None,
    params_file: Annotated[Path | None, typer.Option(help="YAML file of parameters; -p goes before it.")] = None,
    key: Annotated[str | None, typer.Option(help="Submit key: one key never runs twice. Made if left out.")] = None,
    quality: Annotated[Quality, typer.Option(help="How deep the stages work.")] = Quality.STANDARD,
    optimise_for: Annotated[OptimiseFor, typer.Option(help="What to prefer.")] = OptimiseFor.BALANCE,
    urgency: Annotated[int, typer.Option(min=0, max=9, help="Orders the client's own jobs.")] = 5,
    budget: Annotated[float | None, typer.Option(min=0, help="In US dollars.")] = None,
    delay: Annotated[str, typer.Option(help="Begin no sooner than in 30m, 12h, 2d.")] = "0s",
    deadline: Annotated[str | None, typer.Option(help="End with what there is in 30m, 12h, 2d.")] = None,
    watch_it: Annotated[bool, typer.Option("--watch", help="Show its progress until it ends.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when it has ended.")] = False,
    json: output.Json = False,
) -> None:
    """Submit a job, and watch it if asked to. Exit status 1 if it was rejected, or ended failed or cancelled.

    Examples: factory submit rss_intelligence -c demo -p topic="battery recycling" --watch ·
    factory submit rss_intelligence -c acme --params-file job.yaml --key 2024-05 --wait --json
    """
    order = Order(
        template, for_client, parameter or [], params_file, key, quality, optimise_for, urgency, budget,
        durations.parse(delay, "--delay"), None if deadline is None else durations.parse(deadline, "--deadline")
    )  # fmt: skip
    configured = session.known()
    accepted = session.run(_submit(configured, order))
    if watch_it or wait:
        if not json:
            output.note(f"execution {accepted.execution_id}")
        _report(configured, accepted.execution_id, json=json, quiet=json or not watch_it)
    elif json:
        output.document(accepted)
    else:
        output.say(str(accepted.execution_id))
        ahead = f"{accepted.position} of the client's jobs are ahead"
        output.note(f"accepted, {ahead}; see 'factory watch {accepted.execution_id}'")


async def _submit(configured: Settings, order: Order) -> messages.JobAccepted:
    async with session.tables(configured) as connection:
        template = await definitions.find(connection, order.template)
        known = (await jobs.clients(connection, [order.client])).get(order.client)
    if known is None:
        raise FactoryError(f"there is no client '{order.client}'; see 'factory clients list', or 'factory clients add'")
    given = {} if order.file is None else values.of_file(template, order.file)
    for name, text in values.assignments(order.parameters).items():
        given[name] = values.parse(template, name, text)
    today = datetime.datetime.now(datetime.UTC).date()
    place = documents.Place(order.client, today, messages.TaskKey(identifiers.new(), 1, UPLOADS, 0, 1))
    async with storing.store(configured) as store:
        parameters = await values.store(template, given, place, store)
    job = messages.SubmitJob(
        submit_key=order.key or client.new_key(),
        client=order.client,
        template=order.template,
        parameters=parameters,
        quality=order.quality,
        optimise_for=order.optimise_for,
        urgency=order.urgency,
        budget=None if order.budget is None else round(order.budget * 1_000_000),
        delay=order.delay,
        deadline=order.deadline,
    )
    async with client.of(configured, name="factory submit") as connected:
        return await connected.submit(job, tier=known.tier)


def watch(
    execution: Annotated[UUID, typer.Argument(help="The execution's id.")],
    json: output.Json = False,
) -> None:
    """Watch an execution until it ends: its steps, their progress, and what it delivers.

    Exit status 1 if it ends failed or cancelled. Example: factory watch 0190c3f2-…
    """
    _report(session.known(), execution, json=json, quiet=json)


def _report(configured: Settings, execution_id: UUID, *, json: bool, quiet: bool) -> None:
    last = session.run(_follow(configured, execution_id, quiet=quiet))
    if json:
        output.document({"execution": last.execution, "steps": last.steps, "deliverables": last.deliverables})
    elif quiet:
        output.say(last.execution.status)
    if last.execution.status not in GOOD:
        raise typer.Exit(1)


async def _follow(configured: Settings, execution_id: UUID, *, quiet: bool) -> watching.Progress:
    async with session.tables(configured) as connection:
        looks = watching.follow(configured, connection, execution_id)
        return await live.show(looks, output.silent() if quiet else output.stdout())
