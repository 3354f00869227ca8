"""The commands that bring servers to what the factory needs, and that look for what is wrong."""

from collections.abc import Callable

import typer

from infra import settings
from infra.local import doctor as machine
from producer import diagnosis, preparation, provision
from producer.cli import output, session


def register(app: typer.Typer, name: str) -> None:
    """Adds the command."""
    commands: dict[str, Callable[..., None]] = {"doctor": doctor, "migrate": migrate, "prepare": prepare}
    app.command(name, hidden=name == "prepare")(commands[name])


def migrate(json: output.Json = False) -> None:
    """Migrate the database, declare the queues, install the policy, make the bucket; again changes nothing."""
    done = session.run(provision.migrate(session.known()))
    _done(done, json)


def prepare(json: output.Json = False) -> None:
    """What 'up' does between servers and processes: migrate, and add the packaged templates and the client 'demo'."""
    done = session.run(preparation.prepare(session.known()))
    _done(done, json)


def _done(done: list[str], json: bool) -> None:
    if json:
        output.document({"done": done})
    for line in [] if json else done:
        output.say(line)


def doctor(json: output.Json = False) -> None:
    """Check the machine, the servers, the queues and the workers, and name the remedy for what is missing."""
    found = session.run(machine.checks(settings.surroundings(), [diagnosis.checks]))
    if json:
        output.document({"ok": all(check.ok for check in found), "checks": found})
    else:
        rows = [(output.status("ok" if c.ok else "missing"), c.name, c.detail, c.remedy) for c in found]
        output.table(("", "what", "finding", "remedy"), rows, "nothing to check")
    if not all(check.ok for check in found):
        raise typer.Exit(1)
