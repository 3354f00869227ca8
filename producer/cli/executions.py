"""The commands about executions."""

import asyncio
import dataclasses
from typing import Annotated
from uuid import UUID

import typer

from contracts.errors import FactoryError
from contracts.states import EXECUTION_OVER, ExecutionStatus
from contracts.steering import CancelExecution
from infra import views
from infra.settings import Settings
from producer import steering, watching, waterfall
from producer.cli import budgets, durations, output, session
from producer.cli import steering as commands
from producer.cli import waterfall as drawing
from producer.waterfall import Waterfall

Id = Annotated[UUID, typer.Argument(help="The execution's id.")]

WIDEST = 160
"""Beyond that a bar is hard to follow to its name."""


def register(app: typer.Typer, name: str) -> None:
    """Adds the commands."""
    group = typer.Typer(help="List, show, cancel, pause and repeat executions.", no_args_is_help=True)
    group.command("list")(listing)
    group.command()(show)
    group.command()(cancel)
    commands.register_executions(group)
    group.command("budget")(budgets.set_execution)
    app.add_typer(group, name=name)


def listing(
    status: Annotated[ExecutionStatus | None, typer.Option(help="Only those in this status.")] = None,
    client: Annotated[str | None, typer.Option(help="Only this client's.")] = None,
    template: Annotated[str | None, typer.Option(help="Only those of this template.")] = None,
    since: Annotated[str | None, typer.Option(help="Only those of the last 30m, 12h, 7d.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    json: output.Json = False,
) -> None:
    """List executions, the newest first.

    Example: factory executions list --status failed --since 2d
    """
    age = None if since is None else durations.parse(since, "--since")
    rows = session.run(_listing(status, client, template, age, limit))
    if json:
        output.document(rows)
        return
    shown = [
        (
            str(row.id),
            row.client,
            f"{row.template} v{row.template_version}",
            output.status(row.status),
            output.when(row.created_at),
            output.seconds(row.seconds),
        )
        for row in rows
    ]
    output.table(("execution", "client", "template", "status", "submitted", "took"), shown, "no executions")


async def _listing(
    status: ExecutionStatus | None, client: str | None, template: str | None, age: float | None, limit: int
) -> list[views.Execution]:
    async with session.tables(session.known()) as connection:
        return await views.executions(connection, status=status, client=client, template=template, age=age, limit=limit)


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """Everything about one execution."""

    execution: views.Execution
    job: views.Order | None
    steps: list[views.Step]
    failures: dict[str, list[views.Shard]]
    deliverables: list[views.Deliverable]
    timeline: list[views.Fact]
    waterfall: Waterfall


def show(
    execution: Id,
    refs: Annotated[bool, typer.Option("--refs", help="Full addresses of the outputs.")] = False,
    json: output.Json = False,
) -> None:
    """Show one execution: its steps over time, its job, what failed, what happened, what it delivered.

    Each step has a bar from its offer to its end, and '*' marks those that decided how long all took. In JSON times are
    in seconds from the submission, and money is in millionths of a US dollar.

    Example: factory executions show 0190c3f2-… --refs
    """
    found = session.run(_show(execution))
    if json:
        output.document(found)
        return
    console = output.stdout()
    progress = watching.Progress(found.execution, found.steps, found.deliverables)
    width = min(console.width, WIDEST)
    for line in drawing.lines(progress, found.waterfall, width, refs=refs, fold=console.is_terminal):
        console.print(line, soft_wrap=not console.is_terminal)
    if found.job is not None:
        for name, value in found.job.parameters.items():
            console.print(output.text(f"  {name} = {_short(value)}", "dim"), soft_wrap=not console.is_terminal)
    failed = [(step, s.shard, s.error_class, s.error) for step, shards in found.failures.items() for s in shards]
    if failed:
        output.table(("step", "shard", "class", "why it failed"), failed, "")
    if found.timeline:
        facts = [
            (output.when(f.at), f.kind, f.step or "", f.shard or "", f.actor, _short(dict(f.detail)))
            for f in found.timeline
        ]
        output.table(("at", "what", "step", "shard", "by", "detail"), facts, "")


def _short(value: object) -> str:
    if isinstance(value, dict) and "sha256" in value:
        return f"a stored document of {output.size(int(value['size']))}"
    text = str(value)
    return text if len(text) <= 100 else text[:99] + "…"


async def _show(execution_id: UUID) -> Shown:
    async with session.tables(session.known()) as connection:
        progress = await watching.look(connection, execution_id)
        failures = {
            step.step: [shard for shard in await views.shards(connection, execution_id, step.step) if shard.error_class]
            for step in progress.steps
            if step.shards is not None and step.shards.failed
        }
        return Shown(
            progress.execution,
            await views.order(connection, execution_id),
            progress.steps,
            failures,
            await views.deliverables(connection, execution_id),
            await views.timeline(connection, execution_id),
            waterfall.made(progress, await waterfall.read(connection, execution_id, progress.steps)),
        )


def cancel(
    execution: Id,
    note: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    json: output.Json = False,
) -> None:
    """Cancel an execution: waiting work stops at once, running work as soon as its worker hears of it.

    Example: factory executions cancel 0190c3f2-… --note "wrong topic"
    """
    last = session.run(cancelled(session.known(), execution, note))
    if json:
        output.document(last)
    else:
        output.say(f"{last.status} after {output.seconds(last.seconds)}")


async def cancelled(configured: Settings, execution_id: UUID, note: str) -> views.Execution:
    """How the execution ended once it was told to stop; raises FactoryError if it did not."""
    async with session.tables(configured) as connection:
        progress = await watching.look(connection, execution_id)
        if progress.over:
            raise FactoryError(f"execution {execution_id} is {progress.execution.status} already")
        command = CancelExecution(client=progress.execution.client, execution_id=execution_id, note=note)
        await steering.cancel(configured.amqp_url, command, progress.execution.tier)
        try:
            async with asyncio.timeout(steering.SECONDS):
                async for progress in watching.follow(configured, connection, execution_id):
                    if progress.execution.status in EXECUTION_OVER:
                        break
        except TimeoutError as error:
            status = progress.execution.status
            raise FactoryError(
                f"execution {execution_id} is still {status} {steering.SECONDS:g} s after it was told to stop; "
                "see whether 'factory status' shows a coordinator"
            ) from error
        return progress.execution
