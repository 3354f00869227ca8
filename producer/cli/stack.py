"""The commands that bring the factory up and down and say how it is."""

import dataclasses
import time
from collections.abc import Callable
from typing import Annotated

import rich.text
import typer

from contracts.errors import FactoryError
from contracts.stages import MOST_AT_ONCE
from contracts.states import ExecutionStatus
from infra import dead_letters, repairs, settings, views
from infra.local import control, plan, record
from infra.repairs import Repair
from infra.settings import Settings
from producer import installation
from producer.cli import output, session


def register(app: typer.Typer, name: str) -> None:
    """Adds the command."""
    commands: dict[str, Callable[..., None]] = {"up": up, "down": down, "status": status}
    app.command(name)(commands[name])


def up(
    foreground: Annotated[bool, typer.Option("--foreground", help="Supervise here until Ctrl-C.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes of each kind.")] = 1,
    concurrency: Annotated[int | None, typer.Option(min=1, max=MOST_AT_ONCE, help="Tasks at once in a worker.")] = None,
    json: output.Json = False,
) -> None:
    """Start the local servers and the factory's processes, and wait until they are ready.

    Servers that FACTORY_AMQP_URL, FACTORY_DATABASE_URL and FACTORY_S3_ENDPOINT name are used; the others are started
    under FACTORY_HOME (.factory). Packaged templates and a client 'demo' are added if they are absent.

    Examples: factory up · factory up --workers 3 · FACTORY_HOME=/srv/factory factory up --foreground
    """
    around = settings.surroundings()
    if foreground:
        installation.refuse_if_up(around.home)
    specs = installation.process_specs(workers, around.fetch_allow, concurrency)
    if foreground:
        output.note(f"supervising {around.home}; end with Ctrl-C, or with 'factory down' from elsewhere")
        around.home.mkdir(parents=True, exist_ok=True)
        plan.save(around.home, specs)
        raise typer.Exit(control.up(around, specs, foreground=True))
    with output.working(f"starting the factory of {around.home} …"):
        started = installation.start(around, specs)
    if json:
        output.document({"home": around.home, "started": started, "processes": control.status(around.home)})
        return
    output.note("the factory is up" if started else "the factory was up already")
    _processes(control.status(around.home), session.run(installation.health(around.home)))


def down(json: output.Json = False) -> None:
    """Stop everything that 'factory up' started, workers first, whether or not the supervisor lives."""
    home = settings.surroundings().home
    with output.working(f"stopping the factory of {home} …"):
        stopped = installation.stop(home)
    if json:
        output.document({"home": home, "stopped": stopped})
    else:
        output.note(f"stopped: {', '.join(stopped)}" if stopped else f"nothing runs under {home}")


def status(json: output.Json = False) -> None:
    """Show the processes under FACTORY_HOME, the live workers, and how many executions wait, run and ended."""
    home = settings.surroundings().home
    rows = control.status(home)
    health = session.run(installation.health(home)) if rows else {}
    work, reason = None, None
    try:
        work = session.run(_work(session.known()))
    except FactoryError as error:
        reason = str(error)
    if json:
        shown = [_row(row, health) for row in rows]
        output.document({"home": home, "processes": shown, "work": work, "error": reason})
        return
    _processes(rows, health)
    if work is not None:
        _told(work)
    elif rows:
        output.note(f"what is to be done cannot be told: {reason}")


@dataclasses.dataclass(frozen=True, slots=True)
class Work:
    """What a factory has to do, and with whom."""

    executions: dict[ExecutionStatus, int]
    workers: list[views.Worker]
    dead_letters: int
    repairs: list[Repair]


async def _work(configured: Settings) -> Work:
    async with session.tables(configured) as connection:
        return Work(
            await views.counts(connection),
            await views.workers(connection, views.SILENT_SECONDS),
            await dead_letters.count_open(connection),
            await repairs.listing(connection),
        )


def _told(work: Work) -> None:
    counted = [f"{number} {word}" for word, number in sorted(work.executions.items())]
    output.say(f"executions of the last day: {', '.join(counted) or 'none'}")
    output.say(f"dead letters open: {work.dead_letters}")
    for repair in work.repairs:
        last = f"the last {output.when(repair.last_at)}: {repair.detail}"
        output.say(f"repairs of a {repair.kind}: {repair.number}, {last}")
    output.say(f"workers alive: {len(work.workers)}")
    for worker in work.workers:
        output.say(f"  {worker.id}  {worker.in_flight} of {worker.capacity}  {', '.join(worker.stages)}")


def _row(row: record.Row, health: dict[str, str | None]) -> dict[str, object]:
    return {
        "name": row.name,
        "pid": row.pid,
        "state": row.state,
        "restarts": row.restarts,
        "since": row.since,
        "ready": health.get(row.name) is None and row.pid is not None,
        "reason": health.get(row.name),
    }


def _processes(rows: list[record.Row], health: dict[str, str | None]) -> None:
    now = time.time()
    shown = []
    for row in rows:
        reason = health.get(row.name)
        word = output.status(row.state)
        if reason is not None:
            word = rich.text.Text(f"not ready: {reason}", "yellow")
        shown.append((row.name, row.pid or "", word, output.seconds(now - row.since), row.restarts or ""))
    empty = "nothing runs here; start it with 'factory up'"
    output.table(("process", "pid", "state", "for", "restarts"), shown, empty)
