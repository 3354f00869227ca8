"""The commands that pause, resume and do again."""

from typing import Annotated
from uuid import UUID

import typer

from contracts.steering import Action, ExecutionSteered, Pausable, PauseSet
from infra import pauses
from infra.settings import Settings
from producer import steering, watching
from producer.cli import output, session

Id = Annotated[UUID, typer.Argument(help="The execution's id.")]
StepName = Annotated[str, typer.Argument(help="The step's name; see 'factory executions show'.")]
Note = Annotated[str, typer.Option(help="Why, for the record.")]


def register_executions(group: typer.Typer) -> None:
    """Adds what can be done to one execution."""
    for command in (pause, resume, retry, rerun, restart):
        group.command()(command)


def register(app: typer.Typer, name: str) -> None:
    """Adds the commands about stages."""
    group = typer.Typer(help="Pause and resume stages.", no_args_is_help=True)
    group.command("list")(listing)
    group.command("pause")(pause_stage)
    group.command("resume")(resume_stage)
    app.add_typer(group, name=name)


def register_clients(group: typer.Typer) -> None:
    """Adds pausing to the commands about clients."""
    group.command("pause")(pause_client)
    group.command("resume")(resume_client)


def pause(execution: Id, note: Note = "", json: output.Json = False) -> None:
    """Let an execution wait: what runs may end, and nothing further begins before it is resumed."""
    _steer(execution, "pause", None, note, json)


def resume(execution: Id, note: Note = "", json: output.Json = False) -> None:
    """Let a paused execution go on, as soon as it has a slot again."""
    _steer(execution, "resume", None, note, json)


def retry(execution: Id, step: StepName, note: Note = "", json: output.Json = False) -> None:
    """Do a step again that failed; shards of it that completed keep their results.

    Example: factory executions retry 0190c3f2-… fetch --note "the site is back"
    """
    _steer(execution, "retry", step, note, json)


def rerun(execution: Id, step: StepName, note: Note = "", json: output.Json = False) -> None:
    """Do a step and all that depends on it again; the results of the others stay."""
    _steer(execution, "rerun", step, note, json)


def restart(execution: Id, note: Note = "", json: output.Json = False) -> None:
    """Do everything again."""
    _steer(execution, "restart", None, note, json)


def _steer(execution_id: UUID, action: Action, step: str | None, note: str, json: bool) -> None:
    done = session.run(steered(session.known(), execution_id, action, step, note))
    if json:
        output.document(done)
    else:
        output.say(f"{done.status} (epoch {done.epoch}); follow it with 'factory watch {execution_id}'")


async def steered(
    configured: Settings, execution_id: UUID, action: Action, step: str | None, note: str
) -> ExecutionSteered:
    """How an execution stands once the coordinator has done it; raises FactoryError with the reason if it has not."""
    async with session.tables(configured) as connection:
        found = (await watching.look(connection, execution_id)).execution
    return await steering.steer(configured.amqp_url, found.tier, found.client, execution_id, action, step, note)


def pause_stage(
    stage: Annotated[str, typer.Argument(help="The stage.")], note: Note = "", json: output.Json = False
) -> None:
    """Let the workers of a stage take no tasks; they wait in their queues, what runs is done to the end."""
    _set_pause("stage", stage, True, note, json)


def resume_stage(
    stage: Annotated[str, typer.Argument(help="The stage.")], note: Note = "", json: output.Json = False
) -> None:
    """Let the workers of a stage take tasks again."""
    _set_pause("stage", stage, False, note, json)


def pause_client(
    client: Annotated[str, typer.Argument(help="The client.")], note: Note = "", json: output.Json = False
) -> None:
    """Let all executions of a client wait, those that are still to be admitted included."""
    _set_pause("client", client, True, note, json)


def resume_client(
    client: Annotated[str, typer.Argument(help="The client.")], note: Note = "", json: output.Json = False
) -> None:
    """Let the executions of a client go on."""
    _set_pause("client", client, False, note, json)


def _set_pause(kind: Pausable, name: str, paused: bool, note: str, json: bool) -> None:
    done: PauseSet = session.run(steering.set_pause(session.known().amqp_url, kind, name, paused, note))
    if json:
        output.document(done)
    else:
        output.say(f"{kind} '{name}' {'is paused' if done.paused else 'goes on'}")


def listing(json: output.Json = False) -> None:
    """List what is paused."""
    found = session.run(_listing())
    if json:
        output.document(found)
        return
    rows = [(p.name, p.kind, p.actor, output.when(p.created_at), p.note) for p in found]
    output.table(("paused", "kind", "by", "since", "note"), rows, "nothing is paused")


async def _listing() -> list[pauses.Pause]:
    async with session.tables(session.known()) as connection:
        return await pauses.all_of(connection)
