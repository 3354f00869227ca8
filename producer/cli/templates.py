"""The commands about templates."""

from pathlib import Path
from typing import Annotated, Any

import rich.syntax
import rich.text
import typer

from contracts.errors import FactoryError, TemplateError
from contracts.templates import Template
from infra import templates as stored_templates
from producer import definitions
from producer.cli import output, session, storing

Files = Annotated[list[Path], typer.Argument(help="YAML files.")]
Name = Annotated[str, typer.Argument(help="The template's name.")]
Version = Annotated[int | None, typer.Option("--version", min=1, help="A version; the newest if left out.")]


def register(app: typer.Typer, name: str) -> None:
    """Adds the commands."""
    group = typer.Typer(help="Apply, list, show, export, validate and compare templates.", no_args_is_help=True)
    for command in (apply, validate, show, export, diff):
        group.command()(command)
    group.command("list")(listing)
    app.add_typer(group, name=name)


def apply(files: Files, json: output.Json = False) -> None:
    """Store the templates of these files; one that changed becomes a new version, executions keep theirs.

    Example: factory templates apply my_pipeline.yaml
    """
    found = session.run(_apply([definitions.load(path) for path in files]))
    if json:
        output.document([{"name": t.name, "version": t.version, "changed": new} for t, new in found])
        return
    for template, new in found:
        said = f"applied as version {template.version}" if new else f"unchanged, version {template.version}"
        output.say(f"{template.name}: {said}")


async def _apply(found: list[Template]) -> list[tuple[Template, bool]]:
    configured = session.known()
    async with session.tables(configured) as connection, storing.store(configured) as store:
        return await definitions.apply(configured, connection, store, found)


def validate(files: Files, json: output.Json = False) -> None:
    """Say whether these files could be applied; needs no server.

    Example: factory templates validate *.yaml
    """
    problems: list[str] = []
    for path in files:
        try:
            definitions.load(path)
        except TemplateError as error:
            problems += error.problems
    if json:
        output.document({"valid": not problems, "problems": problems})
    else:
        for problem in problems:
            output.note(problem)
        output.say("not valid" if problems else f"{len(files)} valid")
    if problems:
        raise typer.Exit(1)


def listing(json: output.Json = False) -> None:
    """List every version of every template."""
    rows = session.run(_listing())
    if json:
        output.document(rows)
        return
    shown = [(r["name"], r["version"], r["title"], r["steps"], ", ".join(r["tiers"])) for r in rows]
    output.table(("template", "version", "title", "steps", "tiers"), shown, "there are no templates")


async def _listing() -> list[dict[str, Any]]:
    async with session.tables(session.known()) as connection:
        return await stored_templates.listing(connection)


def show(name: Name, version: Version = None, json: output.Json = False) -> None:
    """Show a template: its parameters and its steps.

    Example: factory templates show rss_intelligence
    """
    template = session.run(_find(name, version))
    if json:
        output.document(template)
        return
    console = output.stdout()
    console.print(rich.text.Text(f"{template.name} version {template.version}: {template.title}", "bold"))
    if template.description:
        output.say(template.description)
    parameters = [
        (p.name, p.type, "required" if p.required else _short(p.default), p.description) for p in template.parameters
    ]
    output.table(("parameter", "type", "default", "meaning"), parameters, "no parameters")
    steps = [
        (s.name, s.stage, ", ".join(s.depends_on), s.when or "", "yes" if s.fan_out else "", ", ".join(s.deliver))
        for s in template.steps
    ]
    output.table(("step", "stage", "after", "when", "fanned out", "delivers"), steps, "no steps")


def _short(value: object) -> str:
    if isinstance(value, dict):
        return "a stored document"
    text = "" if value is None else str(value)
    return text if len(text) <= 40 else text[:39] + "…"


def export(
    name: Name,
    version: Version = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write it to this file.")] = None,
    json: output.Json = False,
) -> None:
    """Write a template as YAML, which applies back to the same.

    Example: factory templates export rss_intelligence > rss_intelligence.yaml
    """
    text = definitions.write(session.run(_find(name, version)))
    if out is not None:
        if out.exists() and out.read_text() != text:
            raise FactoryError(f"{out} exists and holds something else; name another file or remove it")
        out.write_text(text)
    if json:
        output.document({"name": name, "yaml": text, "file": out})
    elif out is None:
        typer.echo(text, nl=False)
    else:
        output.note(f"written to {out}")


def diff(
    left: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A file, or a template's name.")],
    old: Annotated[int | None, typer.Argument(metavar="[OLD]", min=1, help="With a name: a version.")] = None,
    new: Annotated[int | None, typer.Argument(metavar="[NEW]", min=1, help="With a name: another version.")] = None,
    json: output.Json = False,
) -> None:
    """Show what a file would change, or what changed between two versions.

    Examples: factory templates diff my_pipeline.yaml · factory templates diff rss_intelligence 1 2
    """
    if (old is None) != (new is None):
        raise typer.BadParameter("give two versions after a name, or a file alone")
    lines = session.run(_diff(left, old, new))
    if json:
        output.document({"changed": bool(lines), "diff": lines})
    elif not lines:
        output.note("no difference")
    elif output.stdout().is_terminal:
        output.stdout().print(rich.syntax.Syntax("\n".join(lines), "diff", background_color="default"))
    else:
        typer.echo("\n".join(lines))


async def _diff(left: str, old: int | None, new: int | None) -> list[str]:
    if old is not None and new is not None:
        before, after = await _find(left, old), await _find(left, new)
        return definitions.compare(before, after, f"{left} version {old}", f"{left} version {new}")
    after = definitions.load(Path(left))
    async with session.tables(session.known()) as connection:
        stored = await stored_templates.load(connection, after.name)
    if stored is None:
        return [f"+{line}" for line in definitions.write(after).splitlines()]
    return definitions.compare(stored, after, f"{stored.name} version {stored.version}", left)


async def _find(name: str, version: int | None) -> Template:
    async with session.tables(session.known()) as connection:
        return await definitions.find(connection, name, version)
