"""The commands that show figures over a window of time."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, TypeVar

import typer

from contracts.tiers import Tier
from infra import budgets, database, statistics, views
from infra.statistics import Grouping, Window
from producer.cli import durations, output, session

T = TypeVar("T")

RETENTION = "What is over is kept for 90 days (FACTORY_RETENTION_DAYS), so a window reaches no further back."

Since = Annotated[str, typer.Option("--since", help="The last 30m, 12h, 7d.")]
OfClient = Annotated[str | None, typer.Option("--client", "-c", help="Only this client's.")]
OfTemplate = Annotated[str | None, typer.Option("--template", help="Only those of this template.")]
OfTier = Annotated[Tier | None, typer.Option("--tier", help="Only this tier's.")]
OfStage = Annotated[str | None, typer.Option("--stage", help="Only this stage's.")]
By = Annotated[Grouping, typer.Option("--by", help="What the days of a client are divided by.")]


def register(app: typer.Typer, name: str) -> None:
    """Adds the commands."""
    group = typer.Typer(help=f"Show figures over a window of time. {RETENTION}", no_args_is_help=True)
    for command in (executions, stages, costs, workers):
        group.command(epilog=RETENTION)(command)
    app.add_typer(group, name=name)


def executions(
    since: Since = "24h",
    client: OfClient = None,
    template: OfTemplate = None,
    tier: OfTier = None,
    json: output.Json = False,
) -> None:
    """Show what became of executions that ended, by template: how many succeeded, how long they took and waited.

    'succeeded' is the part that is completed or partial, of all that nobody cancelled. 'took' runs from submission to
    end and counts these only. 'queued' is the time before they began. p50: half took no longer; p95: 95 of 100.

    Example: factory stats executions --since 7d --tier premium
    """
    found = _read(Window(_seconds(since), client, template, tier), statistics.executions)
    if json:
        output.document(found)
        return
    rows = [
        (
            row.template or "all",
            *(row.finished, _part(row.success_rate), row.completed, row.partial, row.failed, row.cancelled),
            *(output.seconds(row.p50), output.seconds(row.p95)),
            *(output.seconds(row.queued_p50), output.seconds(row.queued_p95)),
        )
        for row in found
    ]
    columns = ("template", "ended", "succeeded", "completed", "partial", "failed", "cancelled")
    spans = ("took p50", "p95", "queued p50", "p95")
    output.table((*columns, *spans), rows, f"no execution ended in the last {since}")


def stages(
    since: Since = "24h",
    client: OfClient = None,
    template: OfTemplate = None,
    tier: OfTier = None,
    stage: OfStage = None,
    json: output.Json = False,
) -> None:
    """Show the attempts that ended, by stage and tier: what failed and why, how long they ran and waited in the queue.

    'failed' is for good, 'retries' were followed by another attempt; 'failing' is the part of attempts that are either.

    Example: factory stats stages --since 1h --stage feed_fetcher
    """
    found = _read(Window(_seconds(since), client, template, tier, stage), statistics.stages)
    if json:
        output.document(found)
        return
    rows = [
        (
            *(row.stage, row.tier, row.attempts, row.completed, row.failed, row.retries, _part(row.failure_rate)),
            ", ".join(f"{name} {number}" for name, number in sorted(row.failures.items())),
            *(output.seconds(row.run_p50), output.seconds(row.run_p95)),
            *(output.seconds(row.waited_p50), output.seconds(row.waited_p95)),
        )
        for row in found
    ]
    columns = ("stage", "tier", "attempts", "completed", "failed", "retries", "failing", "why")
    output.table((*columns, "ran p50", "p95", "waited p50", "p95"), rows, f"no attempt ended in the last {since}")


def costs(
    since: Since = "7d",
    client: OfClient = None,
    template: OfTemplate = None,
    tier: OfTier = None,
    by: By = "client",
    json: output.Json = False,
) -> None:
    """Show what paid calls cost, by day (UTC) and client, and by stage or purpose. Amounts in JSON are in millionths.

    The purpose is what the stage wrote into the ledger, such as the model. A cost counts for the stage that has the
    step now: after a fallback, what the stage before it paid too. The ledger itself is kept for ever.

    Example: factory stats costs --since 30d --client acme --by stage
    """
    found = _read(Window(_seconds(since), client, template, tier), lambda c, w: statistics.costs(c, w, by))
    if json:
        output.document(found)
        return
    rows = [
        (
            *(row.day, row.client, *_divided(row, by)),
            *(row.calls, budgets.dollars(row.spent), budgets.dollars(row.overrun) if row.overrun else ""),
        )
        for row in found
    ]
    divided = () if by == "client" else (by,)
    columns = ("day (UTC)", "client", *divided, "calls", "spent", "of that overrun")
    output.table(columns, rows, f"no paid call in the last {since}")


def _divided(row: statistics.Cost, by: Grouping) -> Sequence[str]:
    match by:
        case "client":
            return ()
        case "stage":
            return (row.stage or "(removed)",)
        case "purpose":
            return (row.purpose or "",)


def workers(since: Since = "24h", stage: OfStage = None, json: output.Json = False) -> None:
    """Show worker processes: slots in use, silence, what their attempts came to, tasks lost with them.

    'lost' counts tasks that were offered again because the worker was not heard of for a lease. One that ended is known
    for a day; after that only its work is. --stage chooses the workers that serve it; what is counted is all that they
    do.

    Example: factory stats workers --since 1h
    """
    found = _read(Window(_seconds(since), stage=stage), statistics.workers)
    if json:
        output.document(found)
        return
    rows = [
        (
            row.id,
            _state(row),
            "" if row.capacity is None else f"{row.in_flight} of {row.capacity}",
            output.when(row.started_at),
            *(row.completed, row.failed, _part(row.failure_rate), row.lost or ""),
            ", ".join(row.stages),
        )
        for row in found
    ]
    columns = ("worker", "state", "slots", "started", "completed", "failed", "failing", "lost", "stages")
    output.table(columns, rows, f"no worker in the last {since}")


def _state(worker: statistics.Worker) -> str:
    if worker.silent is None:
        return "forgotten"
    if worker.stopped:
        return "stopped"
    return f"silent for {output.seconds(worker.silent)}" if worker.silent > views.SILENT_SECONDS else "alive"


def _part(rate: float | None) -> str:
    return "" if rate is None else f"{100 * rate:.1f} %"


def _seconds(since: str) -> float:
    return durations.parse(since, "--since")


def _read(window: Window, read: Callable[[database.Connection, Window], Awaitable[list[T]]]) -> list[T]:
    async def reading() -> list[T]:
        async with session.tables(session.known()) as connection:
            return await read(connection, window)

    return session.run(reading())
